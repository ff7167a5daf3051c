"""Which stacks do runs use, and what may be said about their components?"""
