"""What can the target do?"""
