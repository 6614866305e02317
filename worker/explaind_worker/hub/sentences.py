"""Error messages for failed downloads from the hub: what happened, why, and the remedy."""

from urllib.parse import urlsplit

from explaind.contract.errors import ExplaindError, HubUnavailable, ModelLoadFailed
from explaind_worker.hub.causes import Cause, Failure

PUBLIC_HUB = "https://huggingface.co"
TOKENS = f"{PUBLIC_HUB}/settings/tokens"
SEND_AGAIN = "Send the request again later; files that came whole are kept."
# Faults of the hub or the network, which may be temporary.
PASSING = {
    Cause.NO_SUCH_HOST,
    Cause.UNREACHABLE,
    Cause.TIMEOUT,
    Cause.RATE_LIMITED,
    Cause.SERVER_ERROR,
    Cause.BROKEN_OFF,
    Cause.DAMAGED,
}
GATED_WITHOUT_TOKEN = (
    "{repo} is gated, its files are given to accounts that accepted its licence, and the worker has no token",
    "Accept the licence at {page}, then start the worker with HF_TOKEN, a token of that account ({tokens}).",
)
GATED_WITH_REFUSED_TOKEN = (
    "{repo} is gated, and the hub refused the worker's HF_TOKEN: it is wrong, revoked or expired",
    "Accept the licence at {page}, then start the worker with a valid HF_TOKEN of that account ({tokens}).",
)
# For each cause the reason and the remedy.
SENTENCES: dict[Cause, tuple[str, str]] = {
    Cause.GATED: (
        "{repo} is gated, and the account of the worker's HF_TOKEN has no access to it",
        "Accept the licence, or ask for access, at {page} with the account that HF_TOKEN belongs to; a fine-grained "
        "token must be allowed to read gated repositories.",
    ),
    Cause.NO_REPOSITORY: (
        "the hub has no repository {repo}, or it is private and the worker {private}",
        "Check source in models.toml against {page}; for a private one set HF_TOKEN of the worker to a token that may "
        "read it.",
    ),
    Cause.NO_REVISION: (
        "{repo} has no revision {revision}",
        "Write a commit of {repo} as revision in models.toml: {page} lists them under Files, History.",
    ),
    Cause.NO_FILE: (
        "{repo} has no {files} at revision {revision}",
        "A model needs config.json, tokenizer.json and *.safetensors. Choose a revision that has them all, or another "
        "repository.",
    ),
    Cause.NO_WEIGHTS: (
        "{repo} has no weights as safetensors at revision {revision}; of other kinds it has {files}",
        "Choose a revision or a repository with model.safetensors, or convert them (transformers: "
        "from_pretrained(…).save_pretrained(folder)) and give that folder as path.",
    ),
    Cause.UNREADABLE: (
        "{files} of {repo} at revision {revision} cannot be read{note}",
        "The repository itself is at fault. Choose another revision or repository.",
    ),
    Cause.DISABLED: (
        "the hub has disabled access to {repo}",
        "{page} says why. Choose another repository.",
    ),
    Cause.TOKEN_REFUSED: (
        "the hub refused the worker's token: it is wrong, revoked or expired",
        "Start the worker with a valid HF_TOKEN ({tokens}), or, for a public repository, without one (`hf auth logout` "
        "where one was stored).",
    ),
    Cause.NOT_ALLOWED: (
        "the hub refuses access to {repo} (status {status}{note})",
        "Set HF_TOKEN of the worker to a token that may read {page}.",
    ),
    Cause.OFFLINE: (
        "the worker is offline (HF_HUB_OFFLINE), and its cache lacks files of {repo}",
        "Unset HF_HUB_OFFLINE, or fetch them into the worker's HF_HOME beforehand: hf download {repo} --revision "
        "{revision}",
    ),
    Cause.NO_SUCH_HOST: (
        "the name of the hub's host, {host}, cannot be resolved",
        "Check the worker's DNS and network, and HF_ENDPOINT where it is set; without a network use path in "
        "models.toml.",
    ),
    Cause.UNREACHABLE: (
        "the hub at {endpoint} cannot be reached{note}",
        "Check the worker's network and proxy (HTTPS_PROXY), and HF_ENDPOINT where it is set; without a network use "
        "path in models.toml.",
    ),
    Cause.CERTIFICATE: (
        "the certificate of {host} cannot be verified{note}",
        "Where a proxy opens TLS, set SSL_CERT_FILE of the worker to its certificates.",
    ),
    Cause.TIMEOUT: (
        "the hub at {endpoint} did not answer in time",
        SEND_AGAIN,
    ),
    Cause.RATE_LIMITED: (
        "the hub refuses more requests{wait} (status 429, rate limit)",
        f"{SEND_AGAIN} The hub allows more to workers with HF_TOKEN set.",
    ),
    Cause.SERVER_ERROR: (
        "the hub at {endpoint} answers with an error of its own (status {status})",
        SEND_AGAIN,
    ),
    Cause.BROKEN_OFF: (
        "the connection broke off while {repo} was being fetched",
        SEND_AGAIN,
    ),
    Cause.NOT_A_HUB: (
        "what answers at {endpoint} is not a hub{note}",
        "Check HF_ENDPOINT of the worker, and proxies or firewalls that answer in the hub's place.",
    ),
    Cause.DAMAGED: (
        "{files} of {repo} came damaged twice: the content is not what the hub lists",
        "Send the request again; if it stays so, a proxy or the worker's disk changes files.",
    ),
    Cause.DISK_FULL: (
        "the disk with the worker's cache of the hub is full{note}",
        "Free space there (`hf cache ls`, `hf cache rm`), or set HF_HOME of the worker to a larger disk.",
    ),
    Cause.NOT_WRITABLE: (
        "the worker cannot write into its cache of the hub{note}",
        "Set HF_HOME of the worker to a folder that it may write into.",
    ),
    Cause.OTHER: (
        "{repo} could not be read from the hub",
        "The worker's log says more.",
    ),
}


def error_of(failure: Failure, model: str, repo: str, revision: str) -> ExplaindError:
    """The error for a request for that model of the catalogue."""
    why, way_out = _of_access(failure) or SENTENCES[failure.cause]
    endpoint = failure.endpoint or PUBLIC_HUB
    words = {
        "repo": repo,
        "revision": revision,
        "page": _page(endpoint, repo),
        "tokens": TOKENS,
        "endpoint": endpoint,
        "host": urlsplit(endpoint).netloc,
        "status": failure.status,
        "files": ", ".join(failure.files) or ("none" if failure.cause is Cause.NO_WEIGHTS else "such file"),
        "note": f": {failure.note.rstrip('.')}" if failure.note else "",
        "private": "has no access to it" if failure.with_token else "has no token",
        "wait": "" if failure.retry_after is None else f" for {failure.retry_after:.0f} s",
    }
    kind = HubUnavailable if failure.cause in PASSING else ModelLoadFailed
    return kind(
        f"The files of the model {model!r} could not be fetched: {why.format_map(words)}.",
        hint=way_out.format_map(words),
        retry_after=failure.retry_after,
    )


def _of_access(failure: Failure) -> tuple[str, str] | None:
    """Reason and remedy for a gated repository, which depend on the worker's token."""
    if failure.cause is not Cause.GATED:
        return None
    if not failure.with_token:
        return GATED_WITHOUT_TOKEN
    return GATED_WITH_REFUSED_TOKEN if failure.status == 401 else None


def _page(endpoint: str, repo: str) -> str:
    """The repository's page; a mirror's may lack the licence form, so the public hub's page is added."""
    public = f"{PUBLIC_HUB}/{repo}"
    return public if endpoint == PUBLIC_HUB else f"{endpoint}/{repo} (if that is a mirror: {public})"
