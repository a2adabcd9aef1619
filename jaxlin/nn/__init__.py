"""Layers that mixers and models are made of."""

from jaxlin.nn.conv import ShortConv as ShortConv
from jaxlin.nn.conv import short_conv as short_conv
from jaxlin.nn.embedding import Embedding as Embedding
from jaxlin.nn.feature_map import FEATURE_MAPS as FEATURE_MAPS
from jaxlin.nn.feed_forward import SwiGLU as SwiGLU
from jaxlin.nn.linear import Linear as Linear
from jaxlin.nn.linear import observed as observed
from jaxlin.nn.linear import show as show
from jaxlin.nn.linear import site_adapters as site_adapters
from jaxlin.nn.linear import tap as tap
from jaxlin.nn.norm import RMSNorm as RMSNorm
from jaxlin.nn.norm import l2_norm as l2_norm
from jaxlin.nn.norm import rms_norm as rms_norm
from jaxlin.nn.param import param as param
from jaxlin.nn.rotary import rotate as rotate
from jaxlin.nn.segments import positions_in as positions_in
