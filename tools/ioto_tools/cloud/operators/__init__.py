"""What operators see and change: releases, devices, groups, webhooks, metrics; their tokens."""
