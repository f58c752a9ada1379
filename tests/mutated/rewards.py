"""Faults in the published rewards: preparation, towers, formulas, checkpoints."""

from mutated.mutation import Mutation

PREPROCESS = "rocm/rewards/preprocess.py"
TOWER = "rocm/rewards/tower.py"
HPSV2 = "rocm/rewards/hpsv2.py"
CLIP = "rocm/rewards/openai_clip.py"
BLIP = "rocm/rewards/blip.py"
CHECKPOINT = "rocm/rewards/checkpoint.py"
PREPARED = "tests/rewards/test_preprocess.py"
PUBLISHED = "tests/rewards/test_published.py"
FILES = "tests/rewards/test_checkpoint.py"
COSINE = f"{PUBLISHED}::test_hpsv2_is_the_cosine_of_open_clip_without_logit_scale"
BY_HAND = (
    f"{PUBLISHED}::test_imagereward_is_blip_by_hand_with_twelve_heads_and_padding_masked[size0]"
)

MUTATIONS = [
    Mutation(
        "HPSv2: crop for pad",
        HPSV2,
        "from rocm.rewards.preprocess import pad",
        "from rocm.rewards.preprocess import crop as pad",
        f"{COSINE}[size1]",
    ),
    Mutation(
        "HPSv2: logit scale",
        HPSV2,
        "OpenClipEncoder(freeze(model, device, dtype)))",
        "OpenClipEncoder(freeze(model, device, dtype)), model.logit_scale.exp().item())",
        f"{COSINE}[size0]",
    ),
    Mutation(
        "antialias off",
        PREPROCESS,
        "antialias=True",
        "antialias=False",
        f"{PREPARED}::test_pad_is_what_hpsv2_does[size0]",
    ),
    Mutation(
        "pixels not normalised",
        PREPROCESS,
        "return (images - mean) / deviation",
        "return images",
        f"{PREPARED}::test_pad_is_what_hpsv2_does[size2]",
    ),
    Mutation(
        "black after normalising",
        PREPROCESS,
        "return _normalize(F.pad(images, margins))",
        "return F.pad(_normalize(images), margins)",
        f"{PREPARED}::test_pad_is_what_hpsv2_does[size3]",
    ),
    Mutation(
        "a clamp that holds saturated pictures",
        PREPROCESS,
        "limit_pixels(_resize(images, sides))",
        "_resize(images, sides).clamp(0, 1)",
        f"{PREPARED}::test_a_saturated_picture_can_still_be_led_back[1.0-6]",
    ),
    Mutation(
        "embeddings not normalised",
        TOWER,
        "return F.normalize(full_precision(features), dim=1)",
        "return full_precision(features)",
        f"{COSINE}[size0]",
    ),
    Mutation(
        "cosine in bfloat16",
        TOWER,
        "return F.normalize(full_precision(features), dim=1)",
        "return F.normalize(features, dim=1)",
        f"{PUBLISHED}::test_bfloat16_towers_end_in_float32_scores_near_the_exact_ones[clipscore]",
    ),
    Mutation(
        "autocast reaches the scores",
        TOWER,
        "with torch.autocast(images.device.type, enabled=False):",
        "if True:",
        f"{PUBLISHED}::test_autocast_around_does_not_reach_the_scores",
    ),
    Mutation(
        "no_grad around the score",
        TOWER,
        "    def _score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:",
        "    @torch.no_grad()\n"
        "    def _score(self, images: Tensor, prompts: Sequence[str]) -> Tensor:",
        f"{PUBLISHED}::test_pixel_gradient_is_the_finite_difference[hpsv2]",
    ),
    Mutation(
        "every part of a batch kept",
        TOWER,
        "checkpoint(score, *part, use_reentrant=False, preserve_rng_state=False)",
        "score(*part)",
        f"{PUBLISHED}::test_a_batch_in_parts_keeps_no_more_than_its_pictures",
    ),
    Mutation(
        "prompts read again",
        TOWER,
        "if prompt not in self._texts:",
        "if prompt:",
        f"{PUBLISHED}::test_each_prompt_is_read_once_and_as_if_alone[blipscore]",
    ),
    Mutation(
        "PickScore without its scale",
        CLIP,
        "return CosineReward(name, encoder, scale)",
        "return CosineReward(name, encoder)",
        f"{PUBLISHED}::test_pickscore_is_the_scaled_cosine_that_transformers_gives",
    ),
    Mutation(
        "aesthetic: no_grad",
        CLIP,
        "    def _score(self, images: Tensor, prompts: Sequence[str] | Tensor) -> Tensor:",
        "    @torch.no_grad()\n"
        "    def _score(self, images: Tensor, prompts: Sequence[str] | Tensor) -> Tensor:",
        f"{PUBLISHED}::test_pixel_gradient_is_the_finite_difference[aesthetic]",
    ),
    Mutation(
        "BLIP: 8 text heads for 12", BLIP, "text_heads: int = 12", "text_heads: int = 8", BY_HAND
    ),
    Mutation(
        "BLIP: attention mask gone",
        BLIP,
        "attention_mask=tokens.attention_mask,",
        "attention_mask=None,",
        BY_HAND,
    ),
    Mutation("BLIP: causal text", BLIP, "is_decoder=False,", "is_decoder=True,", BY_HAND),
    Mutation(
        "BLIP: last norm twice",
        BLIP,
        "return vision(pixel_values=pixels.to(vision.dtype)).last_hidden_state",
        "return vision.post_layernorm(\n"
        "            vision(pixel_values=pixels.to(vision.dtype)).last_hidden_state\n"
        "        )",
        BY_HAND,
    ),
    Mutation(
        "ImageReward not standardised",
        BLIP,
        "return (self.head(features) - MEAN) / DEVIATION",
        "return self.head(features)",
        BY_HAND,
    ),
    Mutation(
        "pickles run",
        CHECKPOINT,
        "weights_only=True",
        "weights_only=False",
        f"{FILES}::test_a_pickle_does_not_run[True]",
    ),
    Mutation(
        "keys too many let through",
        CHECKPOINT,
        "        if key not in expected:",
        "        if False:",
        f"{FILES}::test_a_key_too_many_is_named",
    ),
    Mutation(
        "newly usable rewards in a resumed run",
        "rocm/training/loop.py",
        "list(recall_start(run).scores) if resume else ()",
        "()",
        "tests/training/test_held_out.py::"
        "test_a_published_reward_is_trained_and_the_usable_others_are_held_out",
    ),
    Mutation(
        "whatever commit of a reward is in the cache",
        "rocm/reward_files.py",
        "try_to_load_from_cache(self.repository, name, revision=PINNED[self.repository])",
        "try_to_load_from_cache(self.repository, name)",
        "tests/test_reward_files.py::test_files_in_the_hubs_cache_are_found",
    ),
    Mutation(
        "official scores in the order of prompts",
        "rocm/drawing/official.py",
        "scores[chosen] = torch.tensor(found)",
        "scores = torch.cat([scores[len(chosen) :], torch.tensor(found)])",
        "tests/drawing/test_official.py::"
        "test_each_picture_gets_the_score_of_its_own_file_and_prompt",
    ),
]
