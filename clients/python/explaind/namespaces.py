"""The methods as attributes of a client. Written by `python -m explaind.generate --write`."""

from explaind.acalls import AsyncDriver, AsyncMethodCall
from explaind.calls import Driver, MethodCall
from explaind.contract.methods.feature_ablation import METHOD as FEATURE_ABLATION
from explaind.contract.methods.generate import METHOD as GENERATE
from explaind.contract.methods.score import METHOD as SCORE
from explaind.contract.methods.shap import METHOD as SHAP
from explaind.contract.methods.tokenize import METHOD as TOKENIZE


class Explain:
    """The methods of /explain."""

    def __init__(self, driver: Driver) -> None:
        self.feature_ablation = MethodCall(driver, FEATURE_ABLATION)
        self.shap = MethodCall(driver, SHAP)


class Infer:
    """The methods of /infer."""

    def __init__(self, driver: Driver) -> None:
        self.generate = MethodCall(driver, GENERATE)
        self.score = MethodCall(driver, SCORE)
        self.tokenize = MethodCall(driver, TOKENIZE)


class Namespaces:
    """Every method under its verb."""

    def __init__(self, driver: Driver) -> None:
        self.explain = Explain(driver)
        self.infer = Infer(driver)


class AsyncExplain:
    """The methods of /explain."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.feature_ablation = AsyncMethodCall(driver, FEATURE_ABLATION)
        self.shap = AsyncMethodCall(driver, SHAP)


class AsyncInfer:
    """The methods of /infer."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.generate = AsyncMethodCall(driver, GENERATE)
        self.score = AsyncMethodCall(driver, SCORE)
        self.tokenize = AsyncMethodCall(driver, TOKENIZE)


class AsyncNamespaces:
    """Every method under its verb."""

    def __init__(self, driver: AsyncDriver) -> None:
        self.explain = AsyncExplain(driver)
        self.infer = AsyncInfer(driver)
