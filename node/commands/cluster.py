"""`quorate cluster`: who the nodes are, and how that is changed."""

from __future__ import annotations

import click

from cluster.errors import NoQuorum
from gateway.caller import Object
from gateway.client import Client
from gateway.client_errors import RequestRefused
from node.commands.asking import hand_down, with_client
from node.commands.options import client_options
from node.commands.output import as_json, print_object, print_table
from node.waiting import wait_until

ADD_SECONDS = 60.0  # How long a new node may take to catch up.
LEAD_SECONDS = 10.0  # How long it may take until the node that is asked knows who leads now.


@click.group("cluster", invoke_without_command=True)
@client_options
@click.pass_context
def cluster(context: click.Context, *, url: str, patience: float, wants_json: bool) -> int:
    """Show how one node sees the cluster; exit status 1 when it sees no quorum."""
    if hand_down(context, url=url, patience=patience, wants_json=wants_json):
        return 0

    async def work(client: Client) -> int:
        view = await client.cluster()
        _show(view, wants_json=wants_json)
        return 0 if view["quorum"] else 1

    return with_client(url, patience, work)


@cluster.command(short_help="Take in the node ID, which listens for the others at ADDRESS.")
@click.argument("node_id", metavar="ID")
@click.argument("raft", metavar="ADDRESS")
@client_options
def add(*, node_id: str, raft: str, url: str, patience: float, wants_json: bool) -> int:
    """Take in the node ID, which runs and listens for the others at ADDRESS, host:port.

    Start it first, with every member and itself in --cluster. It counts once it has caught up.
    """

    async def work(client: Client) -> int:
        await client.call("add_member", {"id": node_id, "raft": raft}, wait=ADD_SECONDS)
        return await _changed(client, f"{node_id} is a member", wants_json=wants_json)

    return with_client(url, patience, work)


@cluster.command()
@click.argument("node_id", metavar="ID")
@client_options
def remove(*, node_id: str, url: str, patience: float, wants_json: bool) -> int:
    """Have the node ID count no longer; stop it afterwards."""

    async def work(client: Client) -> int:
        was_member = any(member["id"] == node_id for member in (await client.cluster())["members"])
        try:
            await client.call("remove_member", {"id": node_id})
        except RequestRefused as error:
            # An answer that was lost is asked for again, and by then it has been done.
            if error.code != "member_unknown" or not was_member:
                raise
        return await _changed(client, f"{node_id} is no member any more", wants_json=wants_json)

    return with_client(url, patience, work)


@cluster.command()
@click.argument("node_id", metavar="[ID]", required=False)
@client_options
def lead(*, node_id: str | None, url: str, patience: float, wants_json: bool) -> int:
    """Have the node ID lead, or whichever other one is furthest."""

    async def work(client: Client) -> int:
        before = (await client.cluster())["leader"]
        await client.call("change_leader", {} if node_id is None else {"to": node_id})

        async def led_anew() -> Object | None:
            view = await client.cluster()
            leader = view["leader"]
            is_new = leader is not None and (leader == node_id or leader != before)
            return view if is_new else None

        try:
            view = await wait_until(led_anew, what="a new leader", timeout_seconds=LEAD_SECONDS)
        except TimeoutError as error:
            raise NoQuorum(str(error)) from None
        if wants_json:
            _show(view, wants_json=True)
        else:
            click.echo(f"{view['leader']} leads")
        return 0

    return with_client(url, patience, work)


async def _changed(client: Client, said: str, *, wants_json: bool) -> int:
    if wants_json:
        _show(await client.cluster(), wants_json=True)
    else:
        click.echo(said)
    return 0


def _show(view: Object, *, wants_json: bool) -> None:
    if wants_json:
        click.echo(as_json(view))
        return
    print_object({name: value for name, value in view.items() if name != "members"})
    print_table(
        view["members"],
        ("id", "role", "raft", "http", "reachable", "match_index", "last_contact"),
        least_first=("last_contact", "match_index", "raft", "http"),
    )
