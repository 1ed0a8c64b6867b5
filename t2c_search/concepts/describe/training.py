"""A decoder trained on captions' text alone: from a caption's CLIP vector back to the caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from t2c_search.concepts.describe.decoder import Decoder, DecoderShape
from t2c_search.concepts.describe.loop import Course, Log, train
from t2c_search.concepts.describe.tokens import PAD, token_id, tokens_of, train_tokenizer
from t2c_search.errors import UsageError

LEAST_CAPTIONS = 20
TEMPERATURES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
_LONGEST = 64  # tokens of a caption that are learnt
_HELD_OUT = 0.05  # of the captions, and no more than so many:
_MOST_HELD_OUT = 500
_POOL = 16  # batches whose captions are sorted by length
_READ = 128  # captions at a time, where nothing is learnt


@dataclass(frozen=True, slots=True)
class DecoderRecipe:
    """The constants of a decoder and of its training; the defaults suit some ten thousand everyday captions."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    dropout: float = 0.1
    memory: int = 16_384  # texts at most
    noise: float = 0.5  # length of what is added to unit vectors
    steps: int = 1000
    batch: int = 96
    rate: float = 2e-3
    weight_decay: float = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Captions:
    """What a decoder is trained on: n different texts, how often each is said, and their vectors (n, dim).

    The training runs on the vectors' device.
    """

    texts: Sequence[str]
    times: Sequence[int]
    vectors: torch.Tensor

    @classmethod
    def of(cls, texts: Iterable[str], embed: Callable[[list[str]], torch.Tensor]) -> Captions:
        """Embed each different text once."""
        said = Counter(texts)
        return cls(list(said), list(said.values()), embed(list(said)))


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A decoder, its tokenizer, and its loss per token on captions kept aside, recalled from its memory."""

    decoder: Decoder
    tokenizer: Tokenizer
    loss: float


def train_decoder(
    captions: Captions,
    recipe: DecoderRecipe,
    *,
    seed: int,
    log: Log = lambda line: None,
    advance: Callable[[int], None] = lambda read: None,
) -> Trained:
    """Train a decoder; the same seed and captions give the same one on the same machine. ``advance`` is told of texts read.

    DeCap (Li et al., ICLR 2023): it learns to say a caption from the caption's vector, here with noise, and a memory keeps
    captions' vectors, first of those that are said most; its temperature is the one at which captions kept aside, with noise
    too, are read best once they are recalled from it.
    Raises UsageError for fewer than ``LEAST_CAPTIONS`` captions.
    """
    if len(captions.texts) < LEAST_CAPTIONS:
        raise UsageError(
            f"{len(captions.texts)} different captions are too few to learn sentences from: "
            f"give {LEAST_CAPTIONS} at least, and better some thousands"
        )
    tokenizer = train_tokenizer(captions.texts)
    tokens = tokens_of(tokenizer, captions.texts, _LONGEST)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        said = torch.arange(len(tokens)).repeat_interleave(torch.tensor(captions.times))
        said = said[torch.randperm(len(said))]
        known, aside = said.tensor_split([-min(_MOST_HELD_OUT, max(1, int(_HELD_OUT * len(said))))])
        decoder = _new_decoder(captions.vectors, known, (tokenizer.get_vocab_size(), tokens.shape[1]), recipe)
        lessons = _Lessons(decoder, decoder.centred(captions.vectors), tokens, token_id(tokenizer, PAD), recipe.noise)
        batches = _batches(known, lessons.lengths_of(tokens), recipe.batch)

        def loss(step: int) -> torch.Tensor:
            rows = next(batches)
            advance(recipe.batch)
            return lessons.loss(lessons.heard(rows), rows)

        train(decoder, loss, Course(recipe.steps, recipe.rate, recipe.weight_decay), log)
        heard = lessons.heard(aside)
    best, decoder.temperature = min((lessons.recalled_loss(heard, aside, each), each) for each in TEMPERATURES)
    log(f"temperature {decoder.temperature} loss {best:.3f} on {len(aside)} captions kept aside")
    return Trained(decoder, tokenizer, best)


def _batches(rows: torch.Tensor, lengths: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Yield the rows again and again in random order, captions of like length together: padding is no work then."""
    while True:
        for pool in torch.split(rows[torch.randperm(len(rows))], size * _POOL):
            alike = torch.split(pool[lengths[pool].argsort(stable=True)], size)
            yield from (alike[number] for number in torch.randperm(len(alike)).tolist())


def _new_decoder(
    vectors: torch.Tensor, known: torch.Tensor, vocabulary_and_context: tuple[int, int], recipe: DecoderRecipe
) -> Decoder:
    """Make a decoder whose memory is the known captions' vectors, a row for each; of many, of those that are said most."""
    times = known.bincount(minlength=len(vectors))
    often = (times + torch.rand(len(times))).argsort(descending=True)[: min(recipe.memory, int((times > 0).sum()))]
    vocabulary, context = vocabulary_and_context
    shape = DecoderShape(vocabulary, vectors.shape[1], recipe.width, recipe.layers, recipe.heads, context, len(often))
    decoder = Decoder(shape, recipe.dropout).to(vectors.device)
    decoder.memory.copy_(vectors[often])
    decoder.centre.copy_(vectors[known].mean(0))
    return decoder


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """Captions as centred unit rows (n, dim) and as tokens (n, t), and how badly a decoder reads them."""

    decoder: Decoder
    vectors: torch.Tensor
    tokens: torch.Tensor
    pad: int
    noise: float

    def heard(self, rows: torch.Tensor) -> torch.Tensor:
        """Vectors of captions with noise: nothing that is described later lies exactly where a caption does."""
        vectors = self.vectors[rows]
        return F.normalize(vectors + torch.randn_like(vectors) * (self.noise / vectors.shape[1] ** 0.5), dim=1)

    def loss(self, heard: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Mean loss per token of captions ``rows``, each from a vector."""
        words = self.tokens[rows]
        words = words[:, : int(self.lengths_of(words).max())].to(heard.device)
        logits = self.decoder(heard, words[:, :-1])[:, 1:]  # position 0 is the vector's own, before the beginning
        return F.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten(), ignore_index=self.pad)

    def lengths_of(self, tokens: torch.Tensor) -> torch.Tensor:
        """How many tokens each caption of (n, t) has."""
        return (tokens != self.pad).sum(1)

    @torch.inference_mode()
    def recalled_loss(self, heard: torch.Tensor, rows: torch.Tensor, temperature: float) -> float:
        """Mean loss of captions whose vectors are recalled from memory first."""
        self.decoder.temperature = temperature
        parts = zip(torch.split(heard, _READ), torch.split(rows, _READ), strict=True)
        return sum(float(self.loss(self.decoder.recall(one), each)) * len(each) for one, each in parts) / len(rows)
