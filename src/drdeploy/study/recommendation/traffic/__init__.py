"""When photographs arrive.

``shape``     how requests spread over the hours of a week
``arrivals``  moments of arrival, drawn from a shape
``trace``     moments of arrival, read from a CSV file
"""
