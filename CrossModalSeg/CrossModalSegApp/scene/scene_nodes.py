"""The nodes of a scene by class."""

from typing import Any


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """The nodes of ``scene`` that are of a class or derived from it.

    ``GetNodesByClass`` hands its collection over to the caller; one that is not given back keeps all of its nodes in
    memory after they have left the scene.
    """
    collection = scene.GetNodesByClass(class_name)
    collection.UnRegister(None)
    return [collection.GetItemAsObject(number) for number in range(collection.GetNumberOfItems())]
