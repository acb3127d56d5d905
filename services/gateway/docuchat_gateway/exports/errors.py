"""What can go wrong with exports."""

from docuchat_common.errors import NotFound


class PersonNotFound(NotFound):
    """There is no such user of the tenant whose data you may export: your own, or for who manages users everybody's."""

    code = "person_not_found"
