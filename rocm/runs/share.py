"""A run's adapter in the format of another program, with a card, and on the hub if asked."""

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from PIL import Image, ImageDraw
from safetensors import SafetensorError

from rocm.config import RunConfig
from rocm.errors import ConfigError, MissingFile, RunError
from rocm.models.export import export_diffusers, export_kohya, export_merged, export_peft
from rocm.runs.adapters import Adapter
from rocm.runs.run_dir import RunDir
from rocm.storage.files import make_folder
from rocm.storage.hub import asked, is_repository
from rocm.storage.networks import first_line

USE = {
    "diffusers": 'pipeline.load_lora_weights("FOLDER")',
    "peft": 'pipeline.unet = PeftModel.from_pretrained(pipeline.unet, "FOLDER")',
    "kohya": "put adapter.safetensors into ComfyUI's models/loras or A1111's models/Lora",
    "merged": 'DiffusionPipeline.from_pretrained("FOLDER")',
}
CHART = (720, 300)
MARGIN = 30
CURVES = {"reward": "#2563eb", "divergence": "#b45309"}
NUM_PICTURES = 4


def export_adapter(adapter: Adapter, model: str, kind: str, out: Path) -> Path:
    """Write an adapter and its card into a new or empty folder; returns the other program's file.

    `model` is the base model; a run knows its own. `kind` is diffusers, peft, kohya or merged.
    RunError if the folder is not empty or cannot be written.
    """
    if not adapter.folder:
        raise ConfigError("The base model has no adapter to export. Name a run or an adapter.")
    out = out.expanduser()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is not empty. Choose an empty or new folder as --out.")
    make_folder(out)
    try:
        return _write(adapter, model, kind, out)
    except (OSError, SafetensorError) as error:
        for part in out.iterdir():  # so that the same command works once there is room
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        raise RunError(
            f"Cannot write {out}: {first_line(error)}. Nothing half-written was left there. Make "
            "room, or choose another --out."
        ) from error


def _write(adapter: Adapter, model: str, kind: str, out: Path) -> Path:
    model = adapter.config.model if adapter.config else model
    if kind == "merged":
        made = export_merged(adapter.path, model, out)
    else:
        writers = {"diffusers": export_diffusers, "peft": export_peft, "kohya": export_kohya}
        made = writers[kind](adapter.path, out)
    run = adapter.run
    pictures = _copy_pictures(run, out) if run else []
    has_chart = run is not None and _draw_chart(run.metrics(), out / "chart.png")
    card = _card(run, model, kind)
    card += ["", "![reward and divergence](chart.png)"] if has_chart else []
    card += ["", *(f"![sample]({name})" for name in pictures)] if pictures else []
    (out / "README.md").write_text("\n".join(card) + "\n", encoding="utf-8")
    return made


def push(folder: Path, repository: str, is_public: bool) -> str:
    """Upload a folder as the model repository `owner/name`, created if absent; returns its address.

    MissingFile without a network, or without the right to write there.
    """
    api = HfApi()

    def upload() -> Any:
        api.create_repo(repository, private=not is_public, exist_ok=True)
        return api.upload_folder(repo_id=repository, folder_path=folder)

    try:
        asked(repository, upload, "uploaded")
    except MissingFile as error:
        raise MissingFile(
            f"{error} {folder} is kept; to upload it later: hf upload {repository} {folder}"
        ) from error
    return f"{api.endpoint}/{repository}"


def _copy_pictures(run: RunDir, out: Path) -> list[str]:
    """The newest previews, a few of them; returns their names."""
    steps = run.sample_steps()
    pictures = sorted(run.samples_dir(steps[-1]).glob("*.webp"))[:NUM_PICTURES] if steps else []
    for path in pictures:
        (out / path.name).write_bytes(path.read_bytes())
    return [path.name for path in pictures]


def _draw_chart(rows: list[dict[str, Any]], path: Path) -> bool:
    """Reward and divergence over the updates, each on its own scale; False without rows."""
    image = Image.new("RGB", CHART, "white")
    pencil, width, height = ImageDraw.Draw(image), *CHART
    drawn = False
    for place, (name, color) in enumerate(CURVES.items()):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if len(points) < 2:
            continue
        low, high = (edge(value for _, value in points) for edge in (min, max))
        first, last = points[0][0], points[-1][0]
        line = [
            (
                MARGIN + (width - 2 * MARGIN) * (step - first) / (last - first),
                height - MARGIN - (height - 2 * MARGIN) * (value - low) / ((high - low) or 1),
            )
            for step, value in points
        ]
        pencil.line(line, fill=color, width=2)
        words = f"{name}: {low:.3g} to {high:.3g}, updates {first} to {last}"
        pencil.text((MARGIN, 6 + 12 * place), words, fill=color)
        drawn = True
    if drawn:
        image.save(path)
    return drawn


def _card(run: RunDir | None, model: str, kind: str) -> list[str]:
    """Lines of the model card: what the adapter is, how it was trained, what changed."""
    base = model.partition("+")[0].partition("@")[0]
    lines = ["---", "tags: [text-to-image, lora, reward-optimization]"]
    lines += [f"base_model: {base}"] if is_repository(base) and "assets/" not in base else []
    lines += ["---", "", f"# Adapter for {model}", "", f"Format: {kind}. Use: `{USE[kind]}`"]
    return lines + (["", *_story(run.config(), run)] if run else [])


def _story(config: RunConfig, run: RunDir) -> list[str]:
    rows = [row for row in run.metrics() if "eval/reward" in row]
    kinds = ("eval/", "heldout/", "audit/")
    names = [name for name in rows[-1] if name.startswith(kinds)] if rows else []
    manifest = run.manifest()
    note = manifest.get("model_note")
    settings = config.model_dump(exclude={"description"})
    steered = [f"{config.judge} chose how far to go, so it was not held out."]
    return [
        f"Trained by {config.algorithm} with reward `{config.reward}`, divergence "
        f"{config.divergence} at beta {config.beta_words}; {run.status().step} updates.",
        *([f"The base is {note}."] if note else []),
        *(steered if config.is_judge_steering else []),
        "",
        "| figure | before | after |",
        "|---|---|---|",
        *(f"| {name} | {rows[0].get(name, 0):.3g} | {rows[-1][name]:.3g} |" for name in names),
        "",
        "Settings: "
        + ", ".join(f"{name}={value}" for name, value in settings.items() if value != ""),
        "",
        f"Prompts sha256: {manifest.get('prompts_sha256', 'unknown')}; model revisions: "
        f"{manifest.get('model_revisions', 'unknown')}.",
    ]
