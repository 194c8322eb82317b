"""Flows as jobs of a running Ray cluster, through its Jobs API: a job goes on when the client that sent it is gone.

What travels is this repository's code and recipes; MLflow's address and all secrets are the cluster's own.
"""

import asyncio
import contextlib
import logging
import re
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import requests
from ray.exceptions import RayError
from ray.job_submission import JobStatus, JobSubmissionClient

from pipeline import places
from pipeline.command import parsing as parser
from pipeline.command import report
from pipeline.command.flags import Command, Status, Stop, Submit
from pipeline.errors import MapNotFound, TrainingFailed, Unschedulable, Unusable
from pipeline.files import write_json
from pipeline.provenance import commit, redacted
from pipeline.ray_session import ROOT
from pipeline.shipped import LEFT_BEHIND, excludes
from pipeline.words import command_line

SECONDS_TO_GET_READY = 60.0
OWN_FLAGS = ("address", "json", "detach")
NODES_FOLDERS = {"cluster.storage", "cluster.data"}


def execute(command: Submit | Status | Stop, arguments: Sequence[str]) -> None:
    """Do what a parsed command says.

    Raises:
        Unschedulable: no cluster answers there.
        MapNotFound: it has no such job.
        TrainingFailed: the job that was followed has failed.
    """
    with answering(command.address):
        client = JobSubmissionClient(command.address)
        logging.getLogger("ray").setLevel(logging.ERROR)  # which the client has set up
        match command:
            case Submit():
                result = submit(client, command, arguments)
            case Status():
                result = status(client, command)
            case Stop():
                require(client, command.job)
                client.stop_job(command.job)
                report.line(f"{command.job} is being stopped; the same submission goes on after its last finished phase")
                result = {"job": command.job, "status": "STOPPING"}
    write_json(command.json, result)


@contextlib.contextmanager
def answering(address: str) -> Iterator[None]:
    """Turn a lost connection into one sentence with the address."""
    try:
        yield
    except (OSError, requests.RequestException, aiohttp.ClientError, RayError, RuntimeError, ValueError) as error:
        if isinstance(error, Unusable):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise Unschedulable(
            f"no Ray cluster answers at --address {redacted(address)}: {reason}. Bring its dashboard here with "
            "`ray dashboard ray_cluster.yaml`, and its token into $RAY_AUTH_TOKEN or ~/.ray/auth_token."
        ) from error


def entrypoint(arguments: Sequence[str]) -> str:
    """The command line that the cluster runs: the same recipe and flags, on the cluster itself.

    Raises:
        Unusable: the recipe is a file that does not travel, a folder is relative to this one, or a flag has a password, which
            Ray would show.
    """
    recipe = arguments[1]
    if recipe.endswith((".yaml", ".yml")):
        path = places.path("RECIPE", recipe).resolve()
        folders = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else (".",)
        if any(part.startswith(".") or part in LEFT_BEHIND for part in folders):
            raise Unusable(f"RECIPE must be in this repository, whose files travel to the cluster, not {recipe}")
        recipe = str(path.relative_to(ROOT))
    parsed = parser.parse(Command, "python -m pipeline", arguments)
    for name in NODES_FOLDERS & parsed.given.keys():
        if not re.match(r"\s*([/~]|[\w+.-]+:)", parsed.given[name] or "/"):
            raise Unusable(f"{name} must be a URL, or an absolute path of the cluster's nodes, not {parsed.given[name]}")
    kept = [word for name, words in parsed.spelled.items() if name not in OWN_FLAGS for word in words]
    if any(redacted(flag) != flag for flag in kept):
        raise Unusable("Ray would show the password that a flag has: put that address into the nodes' $SJKO_TRACKING_URI")
    address = [] if "cluster.address" in parsed.given else ["--cluster.address", "auto"]
    return shlex.join(["python", "-m", "pipeline", "run", recipe, *kept, *address])


def submit(client: JobSubmissionClient, command: Submit, arguments: Sequence[str]) -> dict[str, Any]:
    """Send the job and follow it."""
    name = re.sub(r"[^A-Za-z0-9_-]", "-", Path(command.recipe).stem)
    environment = {"working_dir": str(ROOT), "excludes": excludes(ROOT), "env_vars": {"SJKO_COMMIT": commit()}}
    job, deadline = f"{name}-{secrets.token_hex(4)}", time.monotonic() + SECONDS_TO_GET_READY
    while True:
        try:
            client.submit_job(entrypoint=entrypoint(arguments), submission_id=job, runtime_env=environment)
            break
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(2)  # the head has only just started
    report.line(f"{job} is a job of {redacted(command.address)} now; it goes on when this command ends:")
    there = ("--address", redacted(command.address))
    report.line(f"    {command_line('python', '-m', 'pipeline', 'status', job, '--follow', *there)}")
    report.line(f"    {command_line('python', '-m', 'pipeline', 'stop', job, *there)}")
    return {"job": job, "status": "PENDING"} if command.detach else followed(client, job)


def status(client: JobSubmissionClient, command: Status) -> dict[str, Any]:
    """One job, or a table of all."""
    if not command.job:
        found = sorted(client.list_jobs(), key=lambda each: each.start_time or 0)
        rows = [{"job": job.submission_id, "status": job.status.value, "entrypoint": job.entrypoint} for job in found]
        report.table("jobs", ["job", "status", "entrypoint"], [list(row.values()) for row in rows])
        return {"jobs": rows}
    info = require(client, command.job)
    if command.follow:
        return followed(client, command.job)
    report.line(f"{command.job} is {info.status.value.lower()}: {info.message.strip().splitlines()[0]}")
    return {"job": command.job, "status": info.status.value, "message": info.message}


def require(client: JobSubmissionClient, job: str) -> Any:
    """What is known of a job.

    Raises:
        MapNotFound: there is none of that name.
    """
    try:
        return client.get_job_info(job)
    except RuntimeError as error:
        if "404" in str(error) or "does not exist" in str(error):
            raise MapNotFound(f"the cluster has no job {job}; see python -m pipeline status") from error
        raise


def followed(client: JobSubmissionClient, job: str) -> dict[str, Any]:
    """Print the job's log to its end.

    Raises:
        TrainingFailed: it has failed.
    """

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            report.raw(text)

    asyncio.run(tail())
    info = client.get_job_info(job)
    if info.status == JobStatus.FAILED:
        reason = info.message.partition(", last available logs")[0].strip().splitlines()[0]
        raise TrainingFailed(f"{job} has failed: {reason}. What it has finished is in the store.")
    report.line(f"{job} is {info.status.value.lower()}")
    return {"job": job, "status": info.status.value}
