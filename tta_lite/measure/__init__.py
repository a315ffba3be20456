"""What does it cost there?"""
