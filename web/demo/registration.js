// registration
