"""How are weights found?"""
