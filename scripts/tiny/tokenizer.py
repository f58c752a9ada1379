"""Tokenizer stage: a byte-level BPE in CLIP's own format, learned from the captions."""

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from scripts.tiny.pictures import GROUND_NAMES, Drawings, random_caption

VOCABULARY = 4000
MAX_TOKENS = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def learn_merges(captions: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Learned tokens, in order of id, and BPE merges, with CLIP's normalization and splitting."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True)
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [tuple(merge) for merge in model["merges"]]


def make_tokenizer(drawings: Drawings, folder: Path, seed: int) -> CLIPTokenizer:
    """Learns, saves and returns the tokenizer; longer inputs are cut at 32 tokens."""
    rng = random.Random(seed)
    captions = [
        random_caption(row, rng.choice(GROUND_NAMES), rng)
        for row in drawings.meta
        for _ in range(8)
    ]
    tokens, merges = learn_merges(captions)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # CLIP's order: bytes, bytes that end a word, merges, start, end.
    first = alphabet + [byte + "</w>" for byte in alphabet]
    order = first + [token for token in tokens if token not in set(first)] + [START, END]
    vocabulary = {token: i for i, token in enumerate(order)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer
