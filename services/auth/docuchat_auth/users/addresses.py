"""Addresses of mail, as they are stored and compared."""

from email_validator import EmailNotValidError, validate_email


def parse_address(value: str) -> str:
    """Lower case, with an international domain in its ASCII form; deliverability is for the mail server to find out.

    Raises ValueError.
    """
    try:
        checked = validate_email(value.strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an e-mail address: {error}") from None
    return (checked.ascii_email or checked.normalized).lower()
