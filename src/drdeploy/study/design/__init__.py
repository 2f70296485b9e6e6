"""A study is a TOML file; a plan is what it comes to.

``study`` reads the file, ``scenarios`` says how requests are sent, ``plan`` lists the trials with
their expected duration and worst-case cost.  Nothing is called and nothing is spent here.
"""
