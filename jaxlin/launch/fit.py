"""Whether a run fits the devices that it is to be started on, before anything is started."""

from __future__ import annotations

import math

from jaxlin.config.errors import ConfigError
from jaxlin.config.run import RunConfig
from jaxlin.parallel import mesh


def check(cfg: RunConfig, processes: int, devices_each: int, where: str) -> None:
    """Raises ConfigError if mesh, batch or heads do not fit `processes` of `devices_each` devices.

    `where` names them: "v5litepod-16 (4 hosts of 4 chips)".
    """
    devices = processes * devices_each
    try:
        found = mesh.sizes(cfg.mesh, devices)
        mesh.check(cfg, found)
    except ConfigError as error:
        raise ConfigError(f"{where}, {devices} devices: {error}") from error
    needed = math.prod(found.values())
    if needed <= devices - devices_each:
        raise ConfigError(
            f"{where}: the mesh takes {needed} of {devices} devices, so that some processes have "
            f"none; start {-(-needed // devices_each)} processes, or use mesh.data=-1"
        )
