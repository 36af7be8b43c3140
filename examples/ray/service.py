"""The service as a deployment of Ray Serve, for whoever has a Ray cluster.

    pip install 'photo2cartoon[cpu]' 'ray[serve]'            # on every machine, in one version
    cd examples/ray && serve run --working-dir . service:deployment

Addresses, options, answers and refusals are those of `photo2cartoon serve`; docs/scaling.md says
what is not. The models are loaded once a replica, before it gets its first request.
"""

from fastapi import FastAPI
from ray import serve

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings

CORES = 1  # of a replica: as many photos at a time


def open_service() -> FastAPI:
    """Build the application in a replica; `P2C_*` variables of its machine count."""
    return create_app(Settings(threads=CORES))


deployment = serve.deployment(
    serve.ingress(open_service)(),
    name="photo2cartoon",
    autoscaling_config={"min_replicas": 1, "max_replicas": 20, "target_ongoing_requests": 1},
    max_ongoing_requests=128,  # more than one takes: what would be late it refuses itself
    ray_actor_options={"num_cpus": CORES},
).bind()
