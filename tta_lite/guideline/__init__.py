"""What next, and are we done?"""
