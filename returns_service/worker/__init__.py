"""What happens without anybody asking: refunds sent, news read again, what was barred tried again."""
