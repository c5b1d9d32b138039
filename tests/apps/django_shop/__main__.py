"""See the package."""

from __future__ import annotations

import sys

from tests.apps.django_shop.configure import configure

if __name__ == "__main__":
    configure(int(sys.argv[1]), sys.argv[2], sys.argv[3], "shop")
    if sys.argv[4:] == ["makemigrations"]:
        from django.core.management import call_command

        call_command("makemigrations", "shop")
    else:
        from tests.apps.django_shop.business import play

        play(sys.argv[4:])
