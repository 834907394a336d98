"""Publishing: inspects the file, forecasts its rollout, stores the release."""
