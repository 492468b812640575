"""What `astrolake setup` and `cleanup` do and print."""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from astrolake.batch_processing.account import Network, check_account
from astrolake.batch_processing.artifacts import ensure_artifacts_bucket, upload_artifacts
from astrolake.batch_processing.aws import make_session
from astrolake.batch_processing.cleanup import (
    BucketContent,
    Inventory,
    delete_buckets,
    delete_everything,
    leftover_buckets,
    take_inventory,
)
from astrolake.batch_processing.deploy import Change, Event, drop_plan, execute_plan, plan_changes
from astrolake.batch_processing.setup import (
    Setup,
    Wishes,
    count_resources,
    prepare_setup,
    write_parameters,
)
from astrolake.batch_processing.stacks import Stack, find_stack
from astrolake.errors import BadArguments
from astrolake.redact import redact

_STACK = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")


def setup(args: argparse.Namespace) -> int:
    """Make or change the stack, or show what would be done."""
    session = make_session(args.region, args.profile)
    account = check_account(session)
    wishes = _wishes(args)
    planned = prepare_setup(wishes, account, session)
    print(f"credentials: valid; region: {account.region}; stack: {wishes.stack}, {planned.tier} tier")
    _print_artifacts(planned)
    if args.dry_run:
        return _dry_run(planned, wishes, session)
    if planned.missing:
        names = ", ".join(item.name for item in planned.missing)
        raise BadArguments(
            f"the {planned.tier} tier needs {names}: build what is missing, then run setup again"
        )
    made = ensure_artifacts_bucket(planned.bucket, session)
    print(f"artifacts bucket: {planned.bucket} ({'made' if made else 'there'})")
    print(f"artifacts: {upload_artifacts(planned.artifacts, planned.bucket, session)} uploaded")
    path = wishes.checkout / "dist" / f"parameters-{wishes.stack}.json"
    write_parameters(planned, path)
    print(f"parameters: {path}")
    if args.artifacts_only:
        return 0
    change_set, changes = plan_changes(planned.plan, session)
    if not change_set:
        print("no changes: the stack is as planned")
        _print_outputs(find_stack(wishes.stack, session))
        return 0
    _print_changes(changes)
    _print_outputs(execute_plan(change_set, wishes.stack, session, _print_event))
    return 0


def _wishes(args: argparse.Namespace) -> Wishes:
    values = {}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals or not name.isalnum():
            raise BadArguments(f"--set {pair!r}: write PARAMETER=VALUE")
        values[name] = value
    # It becomes the name of a file, too.
    if not _STACK.fullmatch(args.stack):
        raise BadArguments(
            f"--stack {args.stack!r}: letters, digits and hyphens, a letter first, 128 at most"
        )
    if bool(args.vpc_id) != bool(args.subnet_ids):
        raise BadArguments("give both --vpc-id and --subnet-ids, or neither")
    return Wishes(
        Path(args.checkout),
        args.stack,
        args.tier,
        args.environment,
        args.alert_email,
        Network(args.vpc_id, tuple(args.subnet_ids)),
        args.artifacts_bucket,
        values,
    )


def _print_artifacts(planned: Setup) -> None:
    n_bytes = sum(file.path.stat().st_size for file in planned.artifacts.files)
    print(f"from this checkout: {len(planned.artifacts.files)} files, {n_bytes / 1e6:.1f} MB")
    for item in planned.artifacts.missing:
        need = "needed" if item.needed else "not needed for this tier"
        print(f"missing: {item.name} ({need}); build it: {item.build}")


def _dry_run(planned: Setup, wishes: Wishes, session: Any) -> int:
    """Show the change set of a stack that is there, else what would be made; change nothing."""
    stack = find_stack(wishes.stack, session)
    if stack is None or stack.status == "REVIEW_IN_PROGRESS":
        print(f"would make the bucket {planned.bucket} where it is missing, and the stack {wishes.stack} of")
        for kind, number in sorted(count_resources(wishes.checkout, planned.tier).items()):
            print(f"  {number:3d} {kind}")
        return 0
    change_set, changes = plan_changes(planned.plan, session)
    if not change_set:
        print("no changes: the stack is as planned")
        return 0
    _print_changes(changes)
    drop_plan(change_set, wishes.stack, session)
    return 0


def _print_changes(changes: list[Change]) -> None:
    for change in changes:
        note = ", replaces it" if change.replacement else ""
        print(f"  {change.action.lower():8s}{change.logical_id} ({change.resource_type}{note})")


def _print_event(event: Event) -> None:
    reason = f": {event.reason}" if event.reason else ""
    print(redact(f"  {event.status.lower():28s}{event.logical_id}{reason}"), file=sys.stderr, flush=True)


def _print_outputs(stack: Stack | None) -> None:
    for name, value in sorted((stack.outputs if stack else {}).items()):
        print(f"{name} = {value}")


def cleanup(args: argparse.Namespace) -> int:
    """List what a stack has, ask, and delete it; exit code 1 when anything remains that should not."""
    session = make_session(args.region, args.profile)
    check_account(session)
    if args.bucket:
        return _clean_up_buckets(args, session)
    stack = find_stack(args.stack, session)
    if stack is None or stack.status == "DELETE_COMPLETE":
        print(f"there is no stack {args.stack}: nothing to delete (buckets that were left: --bucket NAME)")
        return 0
    environment = stack.parameters.get("Environment", "dev")
    if environment == "prod" and args.environment != "prod":
        raise BadArguments(f"{args.stack} is a production stack: say so with --environment prod")
    inventory = take_inventory(stack, session)
    _print_inventory(inventory, args.keep_data)
    if args.dry_run:
        return 0
    if not args.yes and not _confirmed(stack.name):
        print("nothing was deleted")
        return 1
    remains = delete_everything(inventory, args.keep_data, session, _tell)
    for line in remains:
        print(f"remains: {line}")
    unwanted = [line for line in remains if not line.endswith("(--keep-data)")]
    print(
        f"stack {stack.name} is deleted" if not unwanted else f"{len(unwanted)} things could not be deleted"
    )
    return 1 if unwanted else 0


def _clean_up_buckets(args: argparse.Namespace, session: Any) -> int:
    for content in leftover_buckets(args.bucket, session):
        print(f"bucket {_told(content)}")
    if args.dry_run:
        return 0
    if not args.yes and not _confirmed(args.bucket[0], "first bucket"):
        print("nothing was deleted")
        return 1
    for name in (remains := delete_buckets(args.bucket, session)):
        print(f"remains: bucket {name}: objects keep arriving")
    return 1 if remains else 0


def _print_inventory(inventory: Inventory, keep_data: bool) -> None:
    print(f"stack {inventory.stack.name} ({inventory.stack.status}): {len(inventory.resources)} resources")
    for kind, number in sorted(Counter(item.resource_type for item in inventory.resources).items()):
        print(f"  {number:3d} {kind}")
    for content in inventory.buckets:
        print(f"bucket {_told(content)}{': kept' if keep_data else ''}")
    if inventory.artifacts is not None:
        print(f"artifacts bucket {_told(inventory.artifacts)}")
    for name, n_images in inventory.repositories.items():
        print(f"ECR repository {name}: {n_images} images")
    for name in inventory.log_groups:
        print(f"log group {name}")


def _told(content: BucketContent) -> str:
    return (
        f"{content.bucket}: {content.n_versions} object versions, {content.n_markers} delete markers, "
        f"{content.n_bytes / 1e6:.1f} MB"
    )


def _confirmed(name: str, what: str = "stack") -> bool:
    if not sys.stdin.isatty():
        raise BadArguments("nobody can be asked here: give --yes to delete all that is listed above")
    question = f"All of this will be deleted for good. Type the {what}'s name ({name}) to go on: "
    print(question, end="", flush=True)
    return sys.stdin.readline().strip() == name


def _tell(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
