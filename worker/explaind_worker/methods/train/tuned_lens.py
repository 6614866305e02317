"""train/tuned-lens: an affine translator for each depth of the stream, trained by KL to the final distribution."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from explaind.contract.errors import NonFiniteScore
from explaind.contract.files import ArtifactCard
from explaind.contract.methods.train.tuned_lens import LensHistory, LensQuality, TrainTunedLensParams, TunedLensTraining
from explaind_worker.attachments.lookup import owner_of
from explaind_worker.lenses.checkpoint import packed
from explaind_worker.lenses.trainer import RATES, FloatArray, LensTraining, Recipe, training_bytes
from explaind_worker.lenses.translators import Translators, translator_bytes
from explaind_worker.session.session import Session
from explaind_worker.training.texts import TrainingTexts, training_texts
from explaind_worker.training.token_batches import drawn


def run(params: TrainTunedLensParams, session: Session) -> TunedLensTraining:
    """The trained lens, stored as an artifact (Belrose et al. 2023). A cancelled job keeps the last check's lens."""
    meta_model = session.model_access.meta_model()
    anatomy = meta_model.anatomy
    session.job.files.check_room(translator_bytes(len(anatomy.blocks), anatomy.hidden))
    texts = training_texts(params.text, session, max_length=params.max_length, share=params.held_out, seed=params.seed)
    rate = params.learning_rate or RATES[params.optimizer]
    recipe = Recipe(params.steps, params.optimizer, rate, params.weight_decay)
    beside = training_bytes(meta_model, params.optimizer)
    limits = session.model_access.batch_limits(texts.longest, kept=beside)
    training = LensTraining(session.model_access.model(), limits, session.job.meter, recipe)
    return _Course(params, session, texts, recipe, training).run()


class _Course:
    """Training run: steps, checks, and the lens that is kept."""

    def __init__(
        self,
        params: TrainTunedLensParams,
        session: Session,
        texts: TrainingTexts,
        recipe: Recipe,
        training: LensTraining,
    ) -> None:
        self._params = params
        self._session = session
        self._texts = texts
        self._recipe = recipe
        self._training = training
        self._losses: list[float] = []
        self._tokens = 0
        self._checks: list[tuple[int, FloatArray]] = []
        self._kept: tuple[int, FloatArray, Translators] | None = None

    def run(self) -> TunedLensTraining:
        """Runs the steps, with checks in between."""
        steps, train = self._params.steps, self._texts.train
        due = set(np.linspace(0, steps, min(steps, self._params.checks) + 1).round().astype(int).tolist())
        self._check(tuned=False)
        draws = drawn(train, min(self._params.batch_tokens, sum(map(len, train))), self._params.seed)
        self._session.job.report_progress("training", 0, steps, "steps")
        for step in range(steps):
            rows = next(draws)
            self._losses.append(float(_finite(self._training.step(rows)).mean()))
            self._tokens += sum(map(len, rows))
            unit = f"steps, KL {self._losses[-1]:.4g}"
            self._session.job.report_progress("training", step + 1, steps, unit)
            if step + 1 in due:
                self._check(tuned=True)
                if self._no_better():
                    return self._result("patience")
        return self._result("steps")

    def _check(self, *, tuned: bool) -> None:
        """Evaluates on the held-out texts; keeps the lens if it is the best, or if the last one is wanted."""
        step, phase = len(self._losses), f"evaluating the {'tuned' if tuned else 'logit'} lens"
        found = self._training.divergence(
            self._texts.held,
            tuned=tuned,
            between=lambda done, total: self._session.job.report_progress(phase, done, total, "held-out tokens"),
        )
        self._checks.append((step, _finite(found)))
        if not tuned:
            return
        if self._params.patience is None or self._kept is None or found.mean() < self._kept[1].mean():
            self._kept = (step, found, self._training.snapshot())
        self._session.job.make_partial_result = partial(self._result, "cancelled")

    def _no_better(self) -> bool:
        patience = self._params.patience
        if patience is None or self._kept is None:
            return False
        since = sum(step > self._kept[0] for step, _ in self._checks)
        return since >= patience and len(self._losses) < self._params.steps

    def _result(self, finish_reason: str) -> TunedLensTraining:
        assert self._kept is not None  # noqa: S101 - the first check precedes any result
        step, found, lens = self._kept
        texts, logit_lens = self._texts, self._checks[0][1]
        blocks = len(found)
        return TunedLensTraining.model_validate(
            {
                "lens": self._keep(lens, step),
                "held_out": LensQuality(
                    streams=["resid_pre", *["resid_post"] * blocks],
                    layers=[0, *range(blocks)],
                    logit_lens=[*logit_lens.tolist(), 0.0],
                    tuned_lens=[*found.tolist(), 0.0],
                    tokens=sum(map(len, texts.held)),
                    texts=texts.held_texts,
                ),
                "history": LensHistory(
                    kl=self._losses,
                    check_steps=[step for step, _ in self._checks],
                    held_out_kl=[float(found.mean()) for _, found in self._checks],
                ),
                "steps": step,
                "tokens": self._tokens,
                "train_texts": texts.train_texts,
                "train_tokens": sum(map(len, texts.train)),
                "optimizer": self._recipe.optimizer,
                "learning_rate": self._recipe.learning_rate,
                "finish_reason": finish_reason,
                "notes": self._notes(logit_lens, found),
            }
        )

    def _keep(self, lens: Translators, step: int) -> ArtifactCard:
        session, recipe, model = self._session, self._recipe, self._session.model_access.model()
        facts = {
            "steps": str(step),
            "optimizer": recipe.optimizer,
            "learning_rate": f"{recipe.learning_rate:g}",
            "weight_decay": f"{recipe.weight_decay:g}",
            "seed": str(self._params.seed),
            "tokens": str(self._tokens),
            "dtype": model.dtype,
            "quantization": str(session.model_access.encoder.quantization or "none"),
        }
        return session.job.files.put_artifact(
            kind="tuned-lens",
            name=self._params.name or f"{session.model_access.entry.name}-tuned-lens.safetensors",
            data=packed(lens, owner_of(session, model.anatomy), facts),
            model=session.model_access.entry.name,
        )

    def _notes(self, logit_lens: FloatArray, tuned: FloatArray) -> list[str]:
        notes = list(self._texts.notes)
        if self._params.patience is not None:
            notes.append("The lens was chosen by the held-out texts, on which it therefore looks a little too good.")
        if self._session.model_access.encoder.packed:
            notes.append(f"Trained on weights quantized to {self._session.model_access.encoder.quantization}.")
        worse = [str(depth) for depth in range(len(tuned)) if tuned[depth] >= logit_lens[depth]]
        if worse:
            notes.append(
                f"On the held-out texts the lens is no better than the logit lens where the stream enters "
                f"{_listed(worse)}: more text, more steps or another learning rate may help."
            )
        return notes


def _listed(layers: Sequence[str]) -> str:
    return f"block{'s' if len(layers) > 1 else ''} {', '.join(layers)}"


def _finite(numbers: FloatArray) -> FloatArray:
    if not np.isfinite(numbers).all():
        raise NonFiniteScore(
            "The divergence from the model's own answer is not a finite number.",
            hint="Lower the learning rate; if it happens at the first step, the dtype may be too narrow.",
        )
    return numbers
