"""Drivers carry out the operations of flows: blocking (``sync``) and asyncio (``aio``)."""
