"""People's judgments of a run's own comparisons, by way of a running collection service.

    [preferences]
    judged_by = "people"
    service = "http://127.0.0.1:8000"
    campaign = "june"                    # the token is read from the environment variable TRUING_COLLECT_TOKEN

The comparisons go to the campaign as one batch and the run stops. Once every judgment that the batch needs is in, `--resume` has
the batch exported, fetches the frozen set, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from truing.collect.client import Client
from truing.errors import TruingError
from truing.program.recipe import PreferencesConfig
from truing.records import Comparison, Guideline, content_hash

Say = Callable[[str], None]


def judged_by_service(
    config: PreferencesConfig,
    comparisons: Sequence[Comparison],
    guideline: Guideline,
    folder: Path,
    say: Say,
) -> Path:
    """The folder of the frozen judgment set, fetched into `folder` where it is not there yet.

    Raises TruingError saying how many judgments are in, while some are missing and the campaign is not closed.
    """
    if folder.exists():
        return folder
    batch = content_hash(sorted(c.comparison_id for c in comparisons))[:16]
    with Client.from_environment(config.service or "", config.service_auth_env) as client:
        campaign = client.campaign(_campaign(config))
        client.add_comparisons(campaign.id, comparisons, batch=batch)
        if campaign.guideline_hash != guideline.guideline_hash:
            say(
                f"campaign {campaign.name!r} follows another guideline than the run's version {guideline.version}: "
                "publish the run's there, if raters are to follow it"
            )
        progress = client.batch(campaign.id, batch)
        if progress.done < progress.needed and campaign.status != "closed":
            raise TruingError(
                f"people's judgments are needed: {len(comparisons)} comparisons are in campaign {campaign.name!r} at "
                f"{config.service}, and {progress.done} of {progress.needed} judgments are in. Run again with --resume once they "
                "all are, or close the campaign to go on with those there are."
            )
        name = f"{campaign.name}-{batch}"
        known = {export.name: export for export in client.exports()}
        begun = known.get(name) or client.start_export(name, [campaign.name], batches=[batch])
        return client.download(client.wait_for_export(begun.id).id, folder).path


def _campaign(config: PreferencesConfig) -> str:
    if not config.campaign:
        raise TruingError("preferences.service is given, so name the campaign too: preferences.campaign")
    return config.campaign
