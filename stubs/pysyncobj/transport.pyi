from typing import Any

from pysyncobj.node import Node

class Transport:
    def __init__(self, syncObj: object, selfNode: Node | None, otherNodes: list[Node]) -> None: ...
    def send(self, node: Node, message: dict[str, Any]) -> bool: ...
