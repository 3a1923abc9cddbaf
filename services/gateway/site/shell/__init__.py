"""What stands around every page: who may open it and who asks, navigation, errors as pages, forms that come back, the numbers of the lines."""
