"""Convert runs of Kubeflow Pipelines (API v2beta1) to pipeline runs."""

from __future__ import annotations

from typing import Any, Final

from schemas import dead_letters as reasons
from schemas.events import Event, PipelineRun, RunState
from streams.adapters.payload import (
    Payload,
    adapter,
    at,
    derived_id,
    items,
    moment,
    read_parameters,
    refuse,
    run_event,
    text,
)

_STATES: Final = {
    "PENDING": RunState.STARTED,
    "RUNNING": RunState.RUNNING,
    "PAUSED": RunState.RUNNING,
    "CANCELING": RunState.RUNNING,
    "SUCCEEDED": RunState.SUCCEEDED,
    "SKIPPED": RunState.ABORTED,
    "CANCELED": RunState.ABORTED,
    "FAILED": RunState.FAILED,
}


@adapter
def adapt(payload: Payload) -> list[Event[Any]]:
    """Return the event of a run in its current state.

    The service account is a credential the run can reach, so it is named among the identities.

    Source: kfp-server-api 2.17, `V2beta1Run`.
    """
    body = payload.body
    run_id = text(body, "run_id")
    if run_id is None:
        raise refuse("no run_id", reasons.MISSING_IDENTITY)
    state = text(body, "state") or ""
    given = at(body, "runtime_config", "parameters")
    parameters = read_parameters(given if isinstance(given, dict) else {})
    history = [moment(at(entry, "update_time")) for entry in items(body, "state_history")]
    times = (moment(at(body, "finished_at")), *reversed(history), moment(at(body, "created_at")))
    account = text(body, "service_account")
    data = PipelineRun(
        pipeline=text(body, "pipeline_version_reference", "pipeline_id")
        or text(body, "display_name")
        or text(body, "experiment_id"),
        run_id=run_id,
        state=_STATES.get(state, RunState.RUNNING),
        config=parameters.config,
        inputs=parameters.inputs,
        data_sources=parameters.data_sources,
        identities=(f"service-account:{account}",) if account else (),
    )
    return [
        run_event(
            payload,
            data,
            id=derived_id("kubeflow", run_id, state),
            source=f"//kubeflow/{text(body, 'experiment_id') or 'default'}",
            time=next((time for time in times if time is not None), None),
        )
    ]
