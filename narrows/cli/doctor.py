"""The command ``doctor``: what a run needs, checked before it is needed."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command

if TYPE_CHECKING:
    from narrows.settings import Settings


def doctor(settings: Settings, args: Namespace) -> int:
    """Print each check; 2 where one fails."""
    from narrows.engine.java import check_java
    from narrows.source.files import open_source

    java = check_java()
    print(f"java      {java or 'fine'}")
    print(f"state     {settings.state}")
    source = open_source(settings)
    print(f"source    {settings.source.name}: {len(source.files(source.settings.events))} file(s) of events")
    try:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        print(f"device    {device}, torch {torch.__version__}")
        import faiss

        print(f"faiss     {faiss.__version__}, {'GPU' if hasattr(faiss, 'StandardGpuResources') else 'CPU'}")
    except ImportError as error:
        print(f"missing   {error.name}. Run: pip install -e '.[cpu]' -c constraints.txt")
        return 2
    return 2 if java else 0


COMMAND = Command("doctor", "Check Java, the settings, the source and the device.", doctor)
