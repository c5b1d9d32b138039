"""The application's entry in INSTALLED_APPS."""

from __future__ import annotations

from django.apps import AppConfig


class Shop(AppConfig):
    name = "tests.apps.django_shop"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
