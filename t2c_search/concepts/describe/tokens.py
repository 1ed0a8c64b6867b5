"""Captions to tokens and back: a tokenizer of the captions' own words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PAD, BEGIN, END = "[PAD]", "[BOS]", "[EOS]"
VOCABULARY = 4096  # tokens at most: the frequent words of everyday captions whole, others in pieces


def train_tokenizer(captions: Sequence[str]) -> Tokenizer:
    """Train a tokenizer on captions: byte-level pairs (Sennrich et al., ACL 2016), so that they come back as they were."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, min_frequency=2, special_tokens=[PAD, BEGIN, END], show_progress=False
    )
    tokenizer.train_from_iterator(captions, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in (BEGIN, END)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=ends)
    return tokenizer


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the number of a special token. Raises ValueError for a tokenizer that lacks it: it is no decoder's."""
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"its tokenizer has no {token}")
    return found


def tokens_of(tokenizer: Tokenizer, captions: Sequence[str], longest: int) -> torch.Tensor:
    """Return captions as (n, t) tokens with their ends, padded; of what is longer than ``longest`` tokens, the beginning."""
    rows = [torch.tensor(each.ids[:longest]) for each in tokenizer.encode_batch(list(captions))]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=token_id(tokenizer, PAD))


def sentences_of(tokenizer: Tokenizer, rows: torch.Tensor) -> list[str]:
    """Return (n, t) tokens as sentences, each up to its end."""
    end = token_id(tokenizer, END)
    cut = [row[: row.index(end)] if end in row else row for row in rows.tolist()]
    found: list[str] = tokenizer.decode_batch(cut)
    return found
