"""Samples with transformers' `generate`. No other file of the evaluation stage imports torch.

`generate` prepares everything (masks, positions, logits processors). The decoding loop is our own and is passed in as
`custom_generate`, because its own loop pays for every row until the last one has ended. Our loop

1. runs each prompt once and copies its keys and values to its n rows,
2. keeps keys and values in a buffer that is written in place, where the default cache copies all of it every step,
3. drops rows that have ended.

Models with another kind of cache (linear attention, hybrids) use `generate`'s own loop, which is slower but samples
from the same distribution. `make perf` compares the two in one run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import transformers
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

from benchmarks.engines.base import Chunk, Completion, Engine, check_lengths, encode
from benchmarks.engines.buffered_cache import BufferedCache, is_compactable
from benchmarks.engines.identity import check_folder, checkpoint_dtype
from benchmarks.engines.loading import end_ids, load_model, load_tokenizer
from benchmarks.errors import Failure, UsageError
from benchmarks.settings import Sampling, Stops
from benchmarks.stops import Reader, StopWatch

_COMPACT_BELOW = 0.7
"""Rows are dropped once fewer than this share of them is alive, because dropping copies the rest."""
_ROWS_AT_ONCE = {"cpu": 512, "cuda": 4096}
_CHECK_EVERY = {"cpu": 1, "cuda": 8}
"""Steps between two checks of which rows have ended. On an accelerator a check has to wait for it."""


def accelerators() -> int:
    """Returns the number of CUDA devices that this process can see."""
    return torch.cuda.device_count()


class TransformersEngine(Engine):
    """Samples with transformers. `threads` counts per process, on a CPU.

    Set `rows_at_once` below `rows_per_batch` if memory is short. These settings and `dtype` can change single samples
    but no distribution. With one thread (the default), every sample is the same for any number of workers.
    """

    name: ClassVar[str] = "transformers"

    def __init__(
        self,
        model_path: str,
        revision: str | None = None,
        *,
        threads: int = 1,
        rows_at_once: int | None = None,
        dtype: str | None = None,
    ) -> None:
        check_folder(model_path)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.threads = threads
        self.rows_at_once = rows_at_once or _ROWS_AT_ONCE[self.device]
        with _quiet():
            self.tokenizer = load_tokenizer(model_path, revision)
            precision = self.precision(model_path, revision, {"dtype": dtype})
            self.model = load_model(model_path, revision, precision, len(self.tokenizer)).to(self.device)
        self.model.eval()
        self.end_ids = end_ids(self.model, self.tokenizer)
        if not self.end_ids:
            raise UsageError(f"model '{model_path}' has no end-of-sequence token: its completions would never end.")
        self.pad_id = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else self.end_ids[0]
        # What the checkpoint suggests (a repetition penalty, say) would fill every setting that we leave open.
        self.model.generation_config = GenerationConfig()
        self.compact = is_compactable(self.model)
        self._readers: dict[Stops, tuple[Reader, Tensor | None]] = {}

    @classmethod
    def installed_version(cls) -> str:
        """The version of transformers."""
        return transformers.__version__

    @classmethod
    def precision(cls, model_path: str, revision: str | None, settings: Mapping[str, Any]) -> str:
        """The asked `dtype`. By default float32 on a CPU, and the checkpoint's own on an accelerator ("auto")."""
        asked = settings.get("dtype") or ("auto" if torch.cuda.is_available() else "float32")
        return checkpoint_dtype(model_path, revision) if asked == "auto" else str(asked)

    @property
    def description(self) -> str:
        """The engine with its version."""
        return f"{self.name} {self.installed_version()}"

    @torch.no_grad()
    def sample(self, chunk: Chunk, sampling: Sampling) -> list[list[Completion]]:
        """Samples as `Engine.sample` says.

        Prompts run in batches of similar length, at most `rows_at_once` rows each.
        """
        prompts = encode(self.tokenizer, chunk)
        config = self.model.config.get_text_config(decoder=True)
        check_lengths(prompts, sampling.max_new_tokens, getattr(config, "max_position_embeddings", None))
        generator = torch.Generator(self.device).manual_seed(chunk.seed)
        results: list[list[Completion]] = [[] for _ in prompts]
        with _threads(self.threads, self.device), _quiet(), _out_of_memory(self.rows_at_once):
            for batch, n in self._batches(prompts, chunk.n):
                rows = self._generate([prompts[i] for i in batch], n, sampling, generator)
                for place, i in enumerate(batch):
                    results[i] += rows[place * n : (place + 1) * n]
        return results

    def _batches(self, prompts: Sequence[Sequence[int]], n: int) -> Iterator[tuple[list[int], int]]:
        """Yields (prompts, samples of each) that run side by side, with the longest prompts first."""
        if not n:
            return
        order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
        width = max(1, self.rows_at_once // n)
        for start in range(0, len(order), width):
            for done in range(0, n, self.rows_at_once):
                yield order[start : start + width], min(self.rows_at_once, n - done)

    def _generate(
        self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling, generator: torch.Generator
    ) -> list[Completion]:
        """Returns `n` completions of each prompt, prompt-major."""
        ids_PT, mask_PT = self._pad(prompts)
        config = self._generation_config(sampling, 1 if self.compact else n)
        reader, watch = self._reader(sampling.stops)
        if self.compact:
            loop = _Loop(n, sampling.max_new_tokens, generator, watch)
            ids_BT = self.model.generate(ids_PT, attention_mask=mask_PT, generation_config=config, custom_generate=loop)
        else:
            criteria = StoppingCriteriaList([watch] if watch else [])
            with _global_seed(generator, self.device):
                all_BT = self.model.generate(
                    ids_PT, attention_mask=mask_PT, generation_config=config, stopping_criteria=criteria
                )
            ids_BT = all_BT[:, ids_PT.shape[1] :]
        return [Completion.of(reader.read(ids)) for ids in ids_BT.tolist()]

    def _reader(self, stops: Stops) -> tuple[Reader, StopWatch | None]:
        """Returns what reads completions under these stops, and a new watch over them if there are any."""
        if stops not in self._readers:
            reader = Reader(self.tokenizer, stops, self.end_ids)
            size = self.model.get_input_embeddings().weight.shape[0]
            flags = reader.completing(size) if stops.strings else None
            self._readers[stops] = reader, None if flags is None else torch.tensor(flags, device=self.device)
        reader, completing_V = self._readers[stops]
        return reader, None if completing_V is None else StopWatch(reader, completing_V)

    def _pad(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Returns ids and mask, both (P, longest), padded on the left."""
        longest = max(map(len, prompts))
        ids_PT = torch.tensor([[self.pad_id] * (longest - len(ids)) + list(ids) for ids in prompts])
        mask_PT = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
        return ids_PT.to(self.device), mask_PT.to(self.device)

    def _generation_config(self, sampling: Sampling, sequences: int) -> GenerationConfig:
        """States every setting that shapes a distribution, so that none is left to the checkpoint or to a default."""
        return GenerationConfig(
            do_sample=True, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k,
            min_p=None, typical_p=1.0, epsilon_cutoff=0.0, eta_cutoff=0.0, repetition_penalty=1.0,
            no_repeat_ngram_size=0, renormalize_logits=False, num_beams=1, num_return_sequences=sequences,
            min_new_tokens=None, max_new_tokens=sampling.max_new_tokens, use_cache=True,
            eos_token_id=self.end_ids, pad_token_id=self.pad_id, bos_token_id=None,
        )  # fmt: skip

    def close(self) -> None:
        """Drops the model."""
        del self.model
        if self.device == "cuda":
            torch.cuda.empty_cache()


# ------------------------------------------------------------------------------------------------ the decoding loop


@dataclass
class _Rows:
    """The rows that are still sampled: R of the B = P*n, in their order."""

    index_R: Tensor
    """The place of each row among the B."""
    ended_R: Tensor
    position_R: Tensor
    """The position of the row's last token."""
    mask_RT: Tensor | None
    """1 on tokens, over the whole length to come. None if no prompt is padded."""
    logits_RV: Tensor

    def select(self, kept_S: Tensor) -> None:
        """Keeps only these rows."""
        for name in ("index_R", "ended_R", "position_R", "mask_RT", "logits_RV"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value[kept_S])


class _Loop:
    """The decoding loop that `generate` calls after preparing its inputs. It returns the new ids, (P*n, T)."""

    def __init__(self, n: int, max_new_tokens: int, generator: torch.Generator, watch: StopWatch | None) -> None:
        self.n = n
        self.max_new_tokens = max_new_tokens
        self.generator = generator
        self.watch = watch
        self.check_every = _CHECK_EVERY[generator.device.type]

    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: Any,
        generation_config: GenerationConfig,
        **inputs: Any,
    ) -> Tensor:
        """Decodes. `inputs` is what `generate` prepared for the forward pass; its stopping criteria are not used."""
        cache = BufferedCache(len(inputs["past_key_values"].layers))
        inputs |= {"past_key_values": cache}
        logits = model(**model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **inputs)).logits
        cache.batch_repeat_interleave(self.n)
        ids_BT = input_ids.repeat_interleave(self.n, dim=0)
        rows = self._start(ids_BT, inputs["attention_mask"], inputs["position_ids"], logits[:, -1])
        return self._decode(model, cache, ids_BT, rows, logits_processor, generation_config)

    def _start(self, ids_BT: Tensor, mask_PT: Tensor | None, positions_PT: Tensor, logits_PV: Tensor) -> _Rows:
        """Returns all rows, each a copy of its prompt's row."""
        rows, device = len(ids_BT), ids_BT.device
        if mask_PT is not None:
            new = mask_PT.new_ones(len(mask_PT), self.max_new_tokens)
            mask_PT = torch.cat([mask_PT, new], dim=1).repeat_interleave(self.n, dim=0)
        return _Rows(
            torch.arange(rows, device=device),
            torch.zeros(rows, dtype=torch.bool, device=device),
            positions_PT[:, -1].repeat_interleave(self.n),
            mask_PT,
            logits_PV.repeat_interleave(self.n, dim=0),
        )

    def _decode(
        self,
        model: Any,
        cache: BufferedCache,
        ids_BT: Tensor,
        rows: _Rows,
        process: LogitsProcessorList,
        config: GenerationConfig,
    ) -> Tensor:
        ends = torch.tensor(config.eos_token_id, device=ids_BT.device)
        start = ids_BT.shape[1]
        ids_BT = torch.cat([ids_BT, ids_BT.new_full((len(ids_BT), self.max_new_tokens), config.pad_token_id)], dim=1)
        for length in range(start, start + self.max_new_tokens):
            scores_RV = rows.logits_RV.float()
            if process:  # empty at temperature 1 without top-p and top-k
                scores_RV = process(ids_BT[rows.index_R, :length], scores_RV)
            chosen_R = torch.multinomial(scores_RV.softmax(dim=-1), 1, generator=self.generator)[:, 0]
            chosen_R = chosen_R.masked_fill(rows.ended_R, config.pad_token_id)
            ids_BT[rows.index_R, length] = chosen_R
            rows.ended_R |= torch.isin(chosen_R, ends)
            rows.position_R = rows.position_R + 1
            if self.watch is not None and self._checks(length - start):
                rows.ended_R |= self.watch.look(ids_BT[rows.index_R, : length + 1], start, self.check_every)
            if length + 1 == ids_BT.shape[1] or not self._drop_ended(length - start, cache, rows):
                break
            rows.logits_RV = model(
                input_ids=ids_BT[rows.index_R, length, None],
                attention_mask=None if rows.mask_RT is None else rows.mask_RT[:, : length + 1],
                position_ids=rows.position_R[:, None],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        return ids_BT[:, start:]

    def _checks(self, step: int) -> bool:
        return (step + 1) % self.check_every == 0

    def _drop_ended(self, step: int, cache: BufferedCache, rows: _Rows) -> bool:
        """Drops ended rows if that pays. Returns False if all have ended."""
        if not self._checks(step):
            return True
        alive_S = (~rows.ended_R).nonzero()[:, 0]
        if 0 < len(alive_S) < _COMPACT_BELOW * len(rows.index_R):
            rows.select(alive_S)
            cache.batch_select_indices(alive_S)
        return len(alive_S) > 0


# ------------------------------------------------------------------------------------------------ surroundings


@contextlib.contextmanager
def _threads(threads: int, device: str) -> Iterator[None]:
    """Uses so many threads for the sums on a CPU, and restores the process's own number afterwards."""
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _global_seed(generator: torch.Generator, device: str) -> Iterator[None]:
    """Seeds the global generator, which `generate`'s own loop uses, from `generator`, and restores it afterwards."""
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Turns transformers' progress bars and notes off, because several workers share one terminal."""
    before, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
        if bars:
            transformers.logging.enable_progress_bar()


@contextlib.contextmanager
def _out_of_memory(rows: int) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise Failure(
            f"out of accelerator memory with {rows} rows at once: lower the engine setting rows_at_once."
        ) from error
