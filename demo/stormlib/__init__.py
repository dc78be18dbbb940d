"""The parts of the storm and of the system tests: a platform that is built, hurt and measured."""
