"""The serving database: releases, lists, takedowns."""
