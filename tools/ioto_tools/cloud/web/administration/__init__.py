"""Pages for administrators: deleting and archiving, settings of a product, groups, webhooks."""
