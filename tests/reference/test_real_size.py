"""The rewards on transformers' CLIP at real size, random weights: one call each, no package needed.

python -m pytest -m reference -s tests/reference/test_real_size.py
"""

import open_clip
import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from rocm.rewards.clip import load_aesthetic, load_cosine, load_pickscore
from rocm.rewards.preprocess import crop
from scripts.reference.checkpoints import write_clip, write_head

pytestmark = pytest.mark.reference
CPU = torch.device("cpu")
PROMPT = "a red fox in the snow, oil painting"
VIT_H = {"act": "gelu", "text": (1024, 24), "vision": (1280, 32)}  # width and layers
VIT_L = {"act": "quick_gelu", "text": (768, 12), "vision": (1024, 24)}


def config(sizes):
    def tower(kind, num_heads):
        width, num_layers = sizes[kind]
        settings = {"hidden_size": width, "intermediate_size": 4 * width}
        settings |= {"hidden_act": sizes["act"], "num_hidden_layers": num_layers}
        return {**settings, "num_attention_heads": num_heads}

    width = sizes["text"][0]
    vision = {**tower("vision", 16), "patch_size": 14, "image_size": 224}
    return CLIPConfig(
        text_config=tower("text", width // 64), vision_config=vision, projection_dim=width
    )


def picture():
    coarse = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (512, 512), mode="bilinear").requires_grad_()


def files(folder):
    return [folder / "model.safetensors", folder / "config.json"]


@torch.no_grad()
def answer(folder, images):
    model = CLIPModel.from_pretrained(folder).eval()
    return model(input_ids=open_clip.tokenize([PROMPT]), pixel_values=crop(images, 224))


def scored(reward, images):
    score = reward(images, [PROMPT])
    (gradient,) = torch.autograd.grad(score.sum(), images)
    print(f"\n{reward.name}: {score.item():.6f}, gradient's norm {gradient.norm():.3e}")
    assert gradient.norm() > 0
    return score.detach()


def test_pickscore_at_real_size_is_transformers_logit(scratch):
    write_clip(scratch, config(VIT_H), seed=0)
    images = picture()
    expected = answer(scratch, images).logits_per_image[0]
    ours = scored(load_pickscore("pickscore", files(scratch), CPU, torch.float32), images)
    print(f"pickscore: difference {(ours - expected).abs().item():.1e}")
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_clipscore_and_aesthetic_at_real_size_share_transformers_embedding(scratch):
    write_clip(scratch, config(VIT_L), seed=1)
    write_head(scratch / "head.pth", 768, seed=2)
    images = picture()
    expected = answer(scratch, images)
    cosine = (expected.image_embeds * expected.text_embeds).sum(1)
    ours = scored(load_cosine("clipscore", files(scratch), CPU, torch.float32), images)
    print(f"clipscore: difference {(ours - cosine).abs().item():.1e}")
    torch.testing.assert_close(ours, cosine, rtol=0, atol=1e-5)

    paths = [scratch / "head.pth", *files(scratch)]
    aesthetic = load_aesthetic("aesthetic", paths, CPU, torch.float32)
    rating = expected.image_embeds
    for layer in aesthetic.head.layers:
        rating = layer(rating)
    ours = scored(aesthetic, images)
    print(f"aesthetic: difference {(ours - rating[0]).abs().item():.1e}")
    torch.testing.assert_close(ours, rating[0], rtol=0, atol=1e-4)
