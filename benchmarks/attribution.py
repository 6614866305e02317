"""Benchmark cases of attribution: each method compared with the implementation its users run today."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks import captum_peers, inseq_peers, shap_peers
from benchmarks.accuracy import accuracy
from benchmarks.alternating import Array
from benchmarks.amounts import GROUPS, PERMUTATIONS, PLAYERS, SAMPLES, STEPS, WINDOW, Amount, budget, first_targets
from benchmarks.memory import memory_row
from benchmarks.rows import Row
from benchmarks.settings import Settings
from benchmarks.shapes import GPT2, LLAMA, Prompt, shapes_on
from benchmarks.speed import Case, Peer, Speed
from benchmarks.workbench import Workbench

ONE_PASS = "captum, one pass"  # noqa: S105 - not a password
ABLATION, SAMPLING, KERNEL, LIME = "feature-ablation", "shapley-sampling", "kernel-shap", "lime"


@dataclass(frozen=True)
class Scale:
    """Amount of work per case; the second number of a pair is the peer's, if it may do a part only."""

    units: int = 32
    target: int = 8
    long_units: int = 128
    prefix: int = 256
    window: int = 3
    ablated: tuple[int, int] = (32, 3)
    long_ablated: tuple[int, int] = (128, 15)
    prefix_ablated: tuple[int, int] = (32, 15)
    permutations: tuple[int, int] = (25, 2)
    prefix_permutations: tuple[int, int] = (25, 1)
    samples: tuple[int, int] = (256, 64)
    prefix_samples: tuple[int, int] = (256, 48)
    steps: tuple[int, int] = (50, 10)
    budget: tuple[int, int] = (512, 130)
    players: tuple[int, int] = (12, 8)
    targets: tuple[int, int] = (8, 2)
    coalitions: int = 4096


def speed_cases(scale: Scale) -> list[Case]:
    """Every speed case at that scale."""
    short = partial(Case, units=scale.units, target=scale.target)
    return [
        *_perturbations(scale, short),
        *_with_prefix(scale, partial(short, prefix=scale.prefix)),
        *_shapley_of_shap(scale, short),
        *_gradients(scale, short),
        *_fast(scale, short),
        *_inseq(scale, short),  # last: inseq changes its network
    ]


def _perturbations(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    ablation = Peer(ONE_PASS, captum_peers.feature_ablation)
    default = Peer("captum, default", captum_peers.feature_ablation_default)
    occlusion = Peer("captum over single forwards", captum_peers.occlusion)
    return [
        case("feature_ablation", ABLATION, GROUPS, scale.ablated[:1] * 2, ablation),
        case("feature_ablation_default", ABLATION, GROUPS, scale.ablated, default),
        case("feature_ablation_long", ABLATION, GROUPS, scale.long_ablated, ablation, units=scale.long_units),
        case(
            "shapley_sampling",
            SAMPLING,
            PERMUTATIONS,
            scale.permutations,
            Peer(ONE_PASS, captum_peers.shapley_sampling),
        ),
        case("kernel_shap", KERNEL, SAMPLES, scale.samples, Peer(ONE_PASS, captum_peers.kernel_shap)),
        case("lime", LIME, SAMPLES, scale.samples, Peer(ONE_PASS, captum_peers.lime)),
        case("occlusion", "occlusion", WINDOW, (scale.window,) * 2, occlusion),
    ]


def _with_prefix(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    sampling = Peer(ONE_PASS, captum_peers.shapley_sampling)
    kernel, lime = Peer(ONE_PASS, captum_peers.kernel_shap), Peer(ONE_PASS, captum_peers.lime)
    occlusion = Peer("captum over single forwards", captum_peers.occlusion)
    unlike = Peer("captum KernelShap, one pass", captum_peers.kernel_shap, same=False)  # draws other coalitions
    return [
        case(
            "prefix_feature_ablation",
            ABLATION,
            GROUPS,
            scale.prefix_ablated,
            Peer(ONE_PASS, captum_peers.feature_ablation),
        ),
        case("prefix_shapley_sampling", SAMPLING, PERMUTATIONS, scale.prefix_permutations, sampling),
        case("prefix_kernel_shap", KERNEL, SAMPLES, scale.prefix_samples, kernel),
        case("prefix_lime", LIME, SAMPLES, scale.prefix_samples, lime),
        case("prefix_occlusion", "occlusion", WINDOW, (scale.window,) * 2, occlusion),
        case("prefix_shap", "shap", budget("kernel"), scale.prefix_samples, unlike),
    ]


def _shapley_of_shap(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    # Another hierarchy of the units, and other permutations: the two estimates differ.
    partition = Peer("shap Partition over texts", shap_peers.partition, same=False)
    permutation = Peer("shap Permutation over texts", shap_peers.permutation, same=False)
    exact = Peer("shap Exact over token ids", shap_peers.exact)
    return [
        case("shap_partition", "shap", budget("partition"), scale.budget, partition),
        case("shap_permutation", "shap", budget("permutation"), scale.budget, permutation),
        case("shap_exact", "shap", PLAYERS, scale.players, exact),
    ]


def _gradients(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    peer = Peer("captum LLMGradientAttribution", captum_peers.integrated_gradients)
    return [case("integrated_gradients", "integrated-gradients", STEPS, scale.steps, peer, gradients=True)]


def _fast(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    """Ours with narrow matrix products compared with ours without."""
    kinds = {
        "fast_feature_ablation": (ABLATION, GROUPS, scale.ablated[0]),
        "fast_kernel_shap": (KERNEL, SAMPLES, scale.samples[0]),
    }
    return [
        case(
            name,
            method,
            amount.also(precision="fast"),
            (work, work),
            Peer("explaind in fp32", partial(_in_fp32, method, amount)),
        )
        for name, (method, amount, work) in kinds.items()
    ]


def _in_fp32(method: str, amount: Amount, bench: Workbench, prompt: Prompt, work: int) -> Array:
    return bench.ours(f"explain/{method}", prompt, **amount.fields(prompt, work))


def _inseq(scale: Scale, case: Callable[..., Case]) -> list[Case]:
    steps, unknown = scale.steps[0], {"text": "<unk>"}
    # Timed, not compared: its occlusion gave other values (never a negative one), and its gradients interpolate the
    # target's tokens too.
    occlusion = Peer("inseq", inseq_peers.occlusion, needs="inseq", same=False)
    gradients = Peer("inseq", partial(inseq_peers.integrated_gradients, steps=steps), needs="inseq", same=False)
    integrated = first_targets(baseline=unknown, n_steps=steps)
    return [
        case("inseq_occlusion", ABLATION, first_targets(baseline=unknown), scale.targets, occlusion),
        case(
            "inseq_integrated_gradients",
            "integrated-gradients",
            integrated,
            scale.targets,
            gradients,
            gradients=True,
        ),
    ]


def memory(scale: Scale, settings: Settings) -> list[Row]:
    """All subsets of groups of a long prompt's tokens; with `whole`, also as many coalitions of single tokens."""
    asked = (scale.long_units, scale.target, scale.coalitions)
    rows = [memory_row(GPT2, *asked, algorithm="exact")]
    if settings.whole:
        rows += [memory_row(shape, *asked, algorithm="kernel") for shape in (GPT2, LLAMA)]
    return rows


def cases(settings: Settings) -> dict[str, Callable[[], list[Row]]]:
    """Every case of the area by name."""
    speed, scale = Speed(shapes_on(settings.device), settings), Scale()
    return {
        "accuracy": accuracy,
        "memory": partial(memory, scale, settings),
        **{case.name: partial(speed.rows, case) for case in speed_cases(scale)},
    }
