"""Submissions: flows that are sent to a running Ray cluster through its Jobs API, and go on there when the client is gone.

What travels is this repository's code and recipes, and the code of the recipe's own parts; MLflow's address and all secrets are
the cluster's own.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from pipeline import places
from pipeline.command import parsing, report
from pipeline.command.flags import Status, Stop, Submit
from pipeline.errors import SubmissionFailed, SubmissionNotFound, Unschedulable, Unusable
from pipeline.parts import travel
from pipeline.parts.pinning import own_parts
from pipeline.provenance import commit, redacted
from pipeline.ray_session import ROOT
from pipeline.shipped import LEFT_BEHIND, excludes
from pipeline.words import command_line

SECONDS_TO_GET_READY = 60.0
OWN_FLAGS = ("dashboard", "json", "detach")
NODES_FOLDERS = {"cluster.checkpoints": "store.checkpoints", "cluster.data": "store.data"}


@contextlib.contextmanager
def answering(dashboard: str) -> Iterator[JobSubmissionClient]:
    """Connect to a cluster's Jobs API; a connection that is lost becomes one sentence with the address."""
    try:
        client = JobSubmissionClient(dashboard)
        logging.getLogger("ray").setLevel(logging.ERROR)  # which the client has set up
        yield client
    except (OSError, requests.RequestException, aiohttp.ClientError, RayError, RuntimeError, ValueError) as error:
        if isinstance(error, Unusable):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Unschedulable(
            f"no Ray cluster answers at --dashboard {redacted(dashboard)}: {reason}. Bring its dashboard here with "
            "`ray dashboard ray_cluster.yaml`, and its token into $RAY_AUTH_TOKEN or ~/.ray/auth_token."
        ) from error


def entrypoint(words: Sequence[str]) -> str:
    """Write the command line that the cluster runs: the same recipe and flags, on the cluster itself.

    Args:
        words: what was written after `submit`.

    Raises:
        Unusable: the recipe is a file that does not travel, a folder is relative to this one, or a flag has a password, which
            Ray would show.
    """
    recipe = words[0]
    if recipe.endswith((".yaml", ".yml")):
        path = places.path("RECIPE", recipe).resolve()
        folders = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else (".",)
        if any(part.startswith(".") or part in LEFT_BEHIND for part in folders):
            raise Unusable(f"RECIPE must be in this repository, whose files travel to the cluster, not {recipe}")
        recipe = str(path.relative_to(ROOT))
    parsed = parsing.parse(Submit, "python -m pipeline submit", words)
    for name in NODES_FOLDERS & parsed.given.keys():
        if not re.match(r"\s*([/~]|[\w+.-]+:)", parsed.given[name] or "/"):
            rule = "a URL, or an absolute path of the cluster's nodes"
            raise Unusable(f"{NODES_FOLDERS[name]} must be {rule}, not {parsed.given[name]}")
    sent = [word for name, words in parsed.spelled.items() if name not in OWN_FLAGS for word in words]
    if any(redacted(flag) != flag for flag in sent):
        raise Unusable("Ray would show the password that a flag has: put that address into the nodes' $SJKO_TRACKING_URI")
    address = [] if "cluster.address" in parsed.given else ["--cluster.address", "auto"]
    return shlex.join(["python", "-m", "pipeline", "run", recipe, *sent, *address])


def submit(command: Submit) -> Mapping[str, Any]:
    """Carry out `submit`: send a flow to a cluster, and follow its log unless the command says --detach.

    Raises:
        Unschedulable: no cluster answers there.
        SubmissionFailed: the flow has failed there.
    """
    # Where things are, and keys, the nodes know themselves: Ray's dashboard shows a job's variables to whoever can reach it.
    environment: dict[str, Any] = {"working_dir": str(ROOT), "excludes": excludes(ROOT), "env_vars": {"SJKO_COMMIT": commit()}}
    travel.sent_along(environment, own_parts(command.resolved()).values())
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '-', command.stem)}-{secrets.token_hex(4)}"
    deadline = time.monotonic() + SECONDS_TO_GET_READY
    with answering(command.dashboard) as client:
        while True:
            try:
                client.submit_job(entrypoint=entrypoint(command.words), submission_id=name, runtime_env=environment)
                break
            except RuntimeError as error:
                if "No available agent" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(2)  # the head has only just started
        report.line(f"{name} is with {redacted(command.dashboard)} now; it goes on when this command ends:")
        dashboard = ("--dashboard", redacted(command.dashboard))
        report.line(f"    {command_line('python', '-m', 'pipeline', 'status', name, '--follow', *dashboard)}")
        report.line(f"    {command_line('python', '-m', 'pipeline', 'stop', name, *dashboard)}")
        return {"submission": name, "status": "PENDING"} if command.detach else followed(client, name)


def stop(command: Stop) -> Mapping[str, Any]:
    """Carry out `stop`: stop a flow that was sent to a cluster.

    Raises:
        Unschedulable: no cluster answers there.
        SubmissionNotFound: it has none of that name.
    """
    with answering(command.dashboard) as client:
        require(client, command.submission)
        client.stop_job(command.submission)
    report.line(f"{command.submission} is being stopped; sent again, the flow goes on after its last finished phase")
    return {"submission": command.submission, "status": "STOPPING"}


def status(command: Status) -> Mapping[str, Any]:
    """Carry out `status`: print how a flow that was sent to a cluster stands, or a table of all such flows.

    Raises:
        Unschedulable: no cluster answers there.
        SubmissionNotFound: it has none of that name.
        SubmissionFailed: the one that was followed has failed.
    """
    with answering(command.dashboard) as client:
        if not command.submission:
            jobs = sorted(client.list_jobs(), key=lambda each: each.start_time or 0)
            rows = [{"submission": job.submission_id, "status": job.status.value, "entrypoint": job.entrypoint} for job in jobs]
            report.table("submissions", ["submission", "status", "entrypoint"], [list(row.values()) for row in rows])
            return {"submissions": rows}
        info = require(client, command.submission)
        if command.follow:
            return followed(client, command.submission)
    report.line(f"{command.submission} is {info.status.value.lower()}: {info.message.strip().splitlines()[0]}")
    return {"submission": command.submission, "status": info.status.value, "message": info.message}


def require(client: JobSubmissionClient, name: str) -> Any:
    """Look up what is known of a submission.

    Raises:
        SubmissionNotFound: there is none of that name.
    """
    try:
        return client.get_job_info(name)
    except RuntimeError as error:
        if "404" in str(error) or "does not exist" in str(error):
            raise SubmissionNotFound(f"the cluster has no submission {name}; see python -m pipeline status") from error
        raise


def followed(client: JobSubmissionClient, name: str) -> Mapping[str, Any]:
    """Print the log of a submission to its end.

    Raises:
        SubmissionFailed: the flow has failed there.
    """

    async def tail() -> None:
        async for text in client.tail_job_logs(name):
            report.raw(text)

    asyncio.run(tail())
    info = client.get_job_info(name)
    if info.status == JobStatus.FAILED:
        reason = info.message.partition(", last available logs")[0].strip().splitlines()[0]
        raise SubmissionFailed(f"{name} has failed: {reason}. What it has finished is in the store.")
    report.line(f"{name} is {info.status.value.lower()}")
    return {"submission": name, "status": info.status.value}
