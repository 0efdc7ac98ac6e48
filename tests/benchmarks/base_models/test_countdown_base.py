"""The embedded base model: what ships, and that its recipe makes it again, digit by digit where that is promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks import tasks
from benchmarks.base_models import recipe
from benchmarks.base_models.corpus import corpus_hash, trace
from benchmarks.base_models.recipe import ALPHABET, FOLDER, IGNORED, PAD, Recipe, collate, make_tokenizer, pretrain
from benchmarks.engines.identity import check_folder

SHORT = Recipe(steps=6, rows_per_step=8, warmup_steps=2, hidden_size=64, feed_forward=128, layers=2, threads=1)
LOSSES = [3.2188, 3.2134, 3.0982, 3.0373, 2.9953, 3.0016]
"""python -c "import tempfile, pathlib; from benchmarks.base_models import recipe as r
print(r.pretrain(r.Recipe(steps=6, rows_per_step=8, warmup_steps=2, hidden_size=64, feed_forward=128, layers=2,
threads=1), pathlib.Path(tempfile.mkdtemp())))"
"""
TOLERANCE = 0.002
"""Processors differ in the last digits of a sum; a change of corpus, model or optimiser moves losses by far more."""


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True)


# ------------------------------------------------------------------------------------------------ what ships


def test_it_is_small():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5 * 10**6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".md"}, "no pickle, no rest of a training"
    check_folder(str(FOLDER))


def test_the_model(model):
    assert 0.855e6 < sum(p.numel() for p in model.parameters()) < 0.865e6
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (model.config.model_type, model.config.vocab_size) == ("llama", len(ALPHABET))
    assert (model.generation_config.eos_token_id, model.generation_config.pad_token_id) == (1, 0)


def test_the_tokenizer_gives_back_what_it_is_given(tokenizer):
    for index in range(50):
        row = trace(index)
        ids = tokenizer(row.prompt + row.completion)["input_ids"]
        assert tokenizer.decode(ids) == row.prompt + row.completion
        assert tokenizer.unk_token_id not in ids and ids.count(ALPHABET.index("\\boxed{")) == 1
        assert tokenizer(row.prompt)["input_ids"] + tokenizer(row.completion)["input_ids"] == ids
    assert tokenizer("3x")["input_ids"] == [ALPHABET.index("3"), tokenizer.unk_token_id]


def test_the_tokenizer_pads_on_the_left(tokenizer):
    batch = tokenizer(["1 2:3\n", "12 11 10:33\n"], padding=True, return_tensors="pt")
    short, long = batch["input_ids"].tolist()
    assert short[: len(long) - 6] == [ALPHABET.index(PAD)] * (len(long) - 6) and PAD not in tokenizer.decode(long)
    assert batch["attention_mask"].tolist()[0] == [0] * (len(long) - 6) + [1] * 6


def test_the_shipped_tokenizer_is_the_recipes(tokenizer):
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab() == {token: i for i, token in enumerate(ALPHABET)}


def test_it_writes_countdown(model, tokenizer):
    """Most likely completions of ten test prompts: nearly all come to an end within a box."""
    prompts = [problem.prompt for problem in tasks.get("countdown").load("test")[:10]]
    batch = tokenizer(prompts, padding=True, return_tensors="pt")
    with torch.no_grad():
        ids = model.generate(**batch, do_sample=False, max_new_tokens=64)[:, batch["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert sum(text.endswith("}") and text.count("\\boxed{") == 1 for text in texts) >= 9, texts


def test_every_prompt_and_completion_fits_its_context(model, tokenizer):
    prompts = [p.prompt for split in ("validation", "test", "ood") for p in tasks.get("countdown").load(split)]
    longest = max(len(ids) for ids in tokenizer(prompts)["input_ids"])
    assert longest + 96 <= model.config.max_position_embeddings


# ------------------------------------------------------------------------------------------------ the recipe


@pytest.fixture(scope="module")
def shipped() -> dict:
    return json.loads((FOLDER / "recipe.json").read_text())


def test_the_corpus_is_the_one_it_was_made_from(shipped):
    assert corpus_hash(1000) == shipped["corpus_hash_of_1000_rows"]


def test_the_recipe_is_the_one_it_was_made_by(shipped, model):
    assert shipped["recipe"] == vars(Recipe())
    curve = shipped["loss_curve"]
    assert curve[-1][0] == Recipe().steps and curve[-1][1] < 0.2 < curve[0][1]
    assert model.config.num_hidden_layers == Recipe().layers and model.config.hidden_size == Recipe().hidden_size


def test_only_completions_are_learnt():
    rows, tokenizer = [trace(0), trace(1)], make_tokenizer()
    batch = collate(tokenizer, rows)
    for row, ids, labels in zip(rows, batch["input_ids"], batch["labels"], strict=True):
        learnt = ids[labels != IGNORED]
        assert torch.equal(learnt, labels[labels != IGNORED])
        assert tokenizer.decode(learnt) == row.completion + "<eos>"
        assert tokenizer.decode(ids[: len(row.prompt)]) == row.prompt and (labels[: len(row.prompt)] == IGNORED).all()


@pytest.fixture
def as_before() -> Iterator[None]:
    """Pre-training sets torch up for the whole process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)


def losses(log: list[dict]) -> list[float]:
    return [round(entry["loss"], 4) for entry in log]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_short_rebuild_has_the_committed_losses_and_repeats(as_before, tmp_path):
    found = losses(pretrain(SHORT, tmp_path / "a"))
    assert found == pytest.approx(LOSSES, abs=TOLERANCE)
    assert losses(pretrain(SHORT, tmp_path / "b")) == found
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert AutoTokenizer.from_pretrained(tmp_path / "a").padding_side == "left"


def test_a_killed_rebuild_goes_on(as_before, monkeypatch, tmp_path):
    arguments, original = recipe.training_arguments, recipe.collate
    monkeypatch.setattr(recipe, "training_arguments", lambda *a: _saving_every(2, arguments(*a)))
    whole = losses(pretrain(SHORT, tmp_path / "whole"))
    calls = []

    def dies(*rows):
        calls.append(rows)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(*rows)

    monkeypatch.setattr(recipe, "collate", dies)
    with pytest.raises(KeyboardInterrupt):
        pretrain(SHORT, tmp_path / "killed")
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert losses(pretrain(SHORT, tmp_path / "killed")) == whole
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def _saving_every(steps: int, arguments):
    arguments.save_steps = steps
    return arguments
