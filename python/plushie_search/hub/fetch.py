"""Downloads a model's missing files into the hub's cache, with the hub's own package.

Each file is written beside its place first, where an interrupted transfer resumes, and is moved there only if its
digest is right: the shared cache never holds a wrong file.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from .._core import ModelError
from ..log import logger
from . import cache
from .pins import Pins
from .registry import Entry, File

INSTALL = "pip install 'plushie_search[hub]'"

#: The error numbers of a disk that is full or not writable.
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


def fetch(entry: Entry, revision: str | None, pins: Pins) -> str:
    """Downloads the missing files of ``revision``, or of the latest one, and returns the revision.

    Raises:
        ImportError: ``huggingface_hub`` is not installed.
        ModelError: A file cannot be downloaded, or has another digest than the pinned one; the message has the cure.
    """
    assert entry.repository is not None
    try:
        # By name: the package loads its parts when they are asked for, and not all of them by their attributes.
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.file_download
        import huggingface_hub.utils
    except ImportError as error:
        raise ImportError(
            f"model {entry.name} is not on this disk, and downloading it needs huggingface_hub; install: {INSTALL}",
            name="huggingface_hub",
        ) from error
    # As they are now: the package itself looks at them only when it is imported.
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or huggingface_hub.constants.ENDPOINT
    for file in entry.files:
        if revision is not None and (cache.snapshot(entry.repository, revision) / file.path).is_file():
            continue
        try:
            revision = _fetch_file(huggingface_hub, endpoint, entry, file, revision, pins)
        except ModelError:
            raise
        except Exception as error:
            reason = _reason(huggingface_hub, endpoint, entry, error)
            raise ModelError(f"model {entry.name}: {file.path} of {entry.repository} {reason}") from error
    assert revision is not None
    return revision


def _fetch_file(hub: Any, endpoint: str, entry: Entry, file: File, revision: str | None, pins: Pins) -> str:
    url = hub.hf_hub_url(entry.repository, file.path, revision=revision or "main", endpoint=endpoint)
    facts = hub.get_hf_file_metadata(url, endpoint=endpoint)
    found, etag = facts.commit_hash, facts.etag
    if (
        found is None
        or etag is None
        or not cache.DIGEST.fullmatch(etag)
        or (revision is not None and found != revision)
    ):
        raise ModelError(
            f"model {entry.name}: {url} does not say of which commit it is and which digest it has, as a model hub "
            "does; correct HF_ENDPOINT, or unset it"
        )
    wanted = file.sha256 or pins.sha256.get(file.path)
    if wanted is not None and len(etag) == 64 and etag != wanted:
        raise _wrong(entry, file, wanted, etag)
    blob = cache.repository_folder(entry.repository or "") / "blobs" / etag
    lock = cache.folder() / ".locks" / blob.parent.parent.name / f"{etag}.lock"
    for place in (blob.parent, lock.parent):
        place.mkdir(parents=True, exist_ok=True)
    with hub.utils.WeakFileLock(lock):
        if not blob.exists():
            url = hub.hf_hub_url(entry.repository, file.path, revision=found, endpoint=endpoint)
            _fetch_blob(hub, entry, file, url, facts.size, blob, wanted)
    # The bytes are there; the package puts them where all its users look for them.
    hub.hf_hub_download(entry.repository, file.path, revision=found, cache_dir=cache.folder(), endpoint=endpoint)
    return str(found)


def _fetch_blob(hub: Any, entry: Entry, file: File, url: str, size: int | None, blob: Path, wanted: str | None) -> None:
    partial = blob.with_name(f"{blob.name}.plushie.incomplete")
    with partial.open("ab") as target:
        furthest = target.tell()
        while True:
            if size is not None and target.tell() > size:
                target.truncate(0)
                target.seek(0)
            try:
                hub.file_download.http_get(
                    url,
                    target,
                    resume_size=target.tell(),
                    headers=hub.utils.build_hf_headers(),
                    expected_size=size,
                    displayed_filename=file.path,
                )
                break
            except hub.errors.HfHubHTTPError:
                raise
            except Exception as error:
                if _is_of_storage(error):
                    raise
                # Try again if this try has made progress.
                if target.tell() <= furthest:
                    raise
                furthest = target.tell()
                logger.warning("trying %s of %s again from byte %d: %s", file.path, entry.repository, furthest, error)
    got = cache.sha256(partial)
    right = got == (wanted or got) and (
        got == blob.name if len(blob.name) == 64 else cache.same_bytes(partial, blob.name)
    )
    if not right:
        partial.unlink()
        raise _wrong(entry, file, wanted or blob.name, got)
    os.replace(partial, blob)
    logger.info("downloaded %s of %s: %d bytes", file.path, entry.repository, blob.stat().st_size)


def _wrong(entry: Entry, file: File, wanted: str, got: str) -> ModelError:
    return ModelError(
        f"model {entry.name}: {file.path} of {entry.repository} should have the digest {wanted}, but has {got}; it "
        "was not kept. Try again; if it stays so, the hub or mirror (HF_ENDPOINT) has other bytes than those pinned: "
        "do not use them"
    )


def _is_of_storage(error: Exception) -> bool:
    """Returns whether it is this disk that failed, not the network."""
    return isinstance(error, OSError) and (error.errno in STORAGE or error.filename is not None)


def _reason(hub: Any, endpoint: str, entry: Entry, error: Exception) -> str:
    """Returns the failure of a transfer in words, and its cure."""
    errors = hub.errors
    page = f"{endpoint}/{entry.repository}"
    if isinstance(error, errors.GatedRepoError):
        return (
            f"needs your consent to its terms: agree on {page}, make an access token in your account's settings, and "
            "give it as HF_TOKEN or by `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"cannot be downloaded: {page} has no revision {entry.revision}; update plushie_search, which pins it"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"cannot be downloaded: {page} does not exist or needs an access token; update plushie_search, or give a "
            "token as HF_TOKEN"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return "is not in the repository (any more); update plushie_search, whose registry names it"
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        return f"cannot be downloaded: {endpoint} answered with the status {status}; try again later, it resumes then"
    if _is_of_storage(error):
        return (
            f"cannot be stored in {cache.folder()}: {error}; make room, or name another place by HF_HOME. The "
            "next try resumes the download"
        )
    return (
        f"cannot be downloaded from {endpoint} ({type(error).__name__}: {error}); check the network, or name a mirror "
        "by HF_ENDPOINT. The next try resumes the download"
    )
