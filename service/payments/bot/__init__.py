"""What people see of money in the chat: balance, top-up, checkout, notices. It knows no processor by name.

The routes, the menu and the jobs stand in the manifests of service/payments.
"""
