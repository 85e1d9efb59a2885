"""A stand-in OpenID Connect provider with given users; its forms ask nothing of other machines.

python -m tests.browser.provider PORT '{"sub": "ada", "email": "ada@clinic.example"}'...
"""

import json
import sys
import warnings

PAGE = "<!doctype html><main>{% block content %}{{ content }}{% endblock %}</main>"
"""In place of the package's own, which takes a style sheet from elsewhere."""


def main() -> None:
    """Serve until stopped."""
    warnings.simplefilter("ignore")  # of what the package imports
    import werkzeug.serving
    from jinja2 import ChoiceLoader, DictLoader, PackageLoader
    from oidc_provider_mock import User, app

    port, *users = sys.argv[1:]
    given = [json.loads(user) for user in users]
    provider = app(user_claims=[User(sub=claims.pop("sub"), claims=claims) for claims in given])
    provider.jinja_loader = ChoiceLoader([DictLoader({"_base.html": PAGE}), PackageLoader("oidc_provider_mock")])
    werkzeug.serving.run_simple("127.0.0.1", int(port), provider, threaded=True)


if __name__ == "__main__":
    main()
