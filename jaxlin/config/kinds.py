"""Fields that hold a config of any registered kind."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from jaxlin.config.registry import (
    Registry,
    adapters,
    mixers,
    optimizers,
    schedules,
    sources,
    tasks,
)


@dataclass(frozen=True)
class OneOf:
    """Marks a field as the union of a registry's kinds, told apart by their field `kind`.

    The union is made when a config is checked, so kinds that a user registered belong to it.
    """

    registry: Registry

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {k: handler.generate_schema(self.registry.config(k)) for k in self.registry}
        return core_schema.tagged_union_schema(choices, discriminator="kind")


AnyMixer = Annotated[Any, OneOf(mixers)]
AnyAdapter = Annotated[Any, OneOf(adapters)]
AnySource = Annotated[Any, OneOf(sources)]
AnyOptimizer = Annotated[Any, OneOf(optimizers)]
AnySchedule = Annotated[Any, OneOf(schedules)]
AnyTask = Annotated[Any, OneOf(tasks)]
