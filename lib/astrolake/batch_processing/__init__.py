"""What astrolake asks of AWS beside the lake: Batch, Lambda, Athena, SNS, CloudFormation."""
