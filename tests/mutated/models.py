"""Faults in models, prompts and exports: how they are loaded, guided, split and written."""

from mutated.mutation import Mutation

FAMILIES = "tests/models/test_families.py::test_picture_of_every_family_is_that_of_stock_diffusers"
DAMAGED = "tests/models/test_damaged.py::"
EXPORT = "tests/models/test_export.py::"
CONSISTENCY, PIPELINES = "rocm/models/consistency.py", "rocm/models/pipelines.py"

MUTATIONS = [
    Mutation(
        "model: guidance away from the prompt",
        CONSISTENCY,
        "return without + guidance_scale * (prompted - without)",
        "return prompted + guidance_scale * (without - prompted)",
        f"{FAMILIES}[sd+lora]",
    ),
    Mutation(
        "model: guidance away from the empty prompt where SDXL takes zeros",
        CONSISTENCY,
        "features, pooled = answer[int(is_empty)],",
        "features, pooled = answer[0],",
        "tests/models/test_families.py::"
        "test_guidance_leads_away_from_zeros_in_sdxl_and_from_the_empty_prompt_elsewhere",
    ),
    Mutation(
        "model: SDXL without the size of its picture",
        CONSISTENCY,
        "sizes[:, 2:4] = 0",
        "sizes[:, 2:] = 0",
        f"{FAMILIES}[xl+lora]",
    ),
    Mutation(
        "model: LCM-LoRA taken off again unmerged",
        PIPELINES,
        "        pipeline.fuse_lora()\n",
        "",
        f"{FAMILIES}[sd+lora]",
    ),
    Mutation(
        "model: turbo not labelled",
        PIPELINES,
        'return TURBO if is_turbo and not has_part else ""',
        'return ""',
        "tests/models/test_families.py::test_a_turbo_model_is_labelled_and_the_others_are_not",
    ),
    Mutation(
        "model: kohya's alpha left at the rank",
        "rocm/models/export.py",
        "torch.tensor(float(config.lora_alpha))",
        "torch.tensor(float(config.r))",
        f"{EXPORT}test_stock_diffusers_draws_our_picture_from_its_own_and_from_kohyas_format[lcm-kohya]",
    ),
    Mutation(
        "model: merged without the adapter",
        "rocm/models/export.py",
        "    pipeline.fuse_lora()\n",
        "",
        f"{EXPORT}test_the_merged_model_draws_our_picture_in_stock_diffusers_and_here[lcm]",
    ),
    Mutation(
        "model: damaged download kept",
        "rocm/hub.py",
        "if digest != blob.name:",
        "if not digest:",
        "tests/test_hub.py::test_a_file_that_arrives_damaged_is_deleted_and_named",
    ),
    Mutation(
        "model: every file of a repository downloaded",
        "rocm/hub.py",
        "allow_patterns=list(wanted.files) or None,",
        "allow_patterns=None,",
        "tests/test_hub.py::"
        "test_a_download_says_its_size_first_takes_what_is_needed_and_works_offline",
    ),
    Mutation(
        "model: capitals make another prompt",
        "rocm/prompts.py",
        '" ".join(prompt.casefold().split())',
        "prompt",
        "tests/test_prompts.py::"
        "test_prompts_that_differ_in_capitals_only_never_stand_on_both_sides",
    ),
    Mutation(
        "model: pictures read with the captions",
        "rocm/prompt_files.py",
        "table.read(columns=[name], use",
        "table.read(use",
        "tests/test_prompts.py::test_of_a_data_set_the_captions_travel_and_the_pictures_do_not",
    ),
    Mutation(
        "model: beta in proportion to the share, not to its odds",
        "rocm/training/calibrate.py",
        "beta = share / (1 - share) *",
        "beta = share *",
        "tests/training/test_calibrate.py::test_beta_is_in_proportion_to_the_odds_of_the_share",
    ),
    Mutation(
        "model: hardware changes the pictures of an update",
        "rocm/hardware.py",
        '"gradient_accumulation": pictures // batch',
        '"gradient_accumulation": config.gradient_accumulation',
        "tests/test_hardware.py::test_an_update_keeps_its_pictures[8-4-12gb]",
    ),
    Mutation(
        "model: weights that a file lacks are random",
        "rocm/networks.py",
        'for key in sorted(info["missing_keys"]):',
        "for key in []:",
        f"{DAMAGED}test_weights_that_lack_a_key_are_refused_with_file_and_first_key[text_encoder]",
    ),
    Mutation(
        "model: a tokenizer without words is taken",
        PIPELINES,
        "if not any((folder / file).is_file() for file in VOCABULARIES):",
        "if not folder.is_dir():",
        f"{DAMAGED}test_a_tokenizer_without_its_words_is_refused",
    ),
    Mutation(
        "prompts: a comma cuts a prompt",
        "rocm/prompt_files.py",
        "if None in row:",
        "if False:",
        "tests/test_prompts.py::test_a_file_that_is_not_what_its_name_says_is_one_sentence",
    ),
]
