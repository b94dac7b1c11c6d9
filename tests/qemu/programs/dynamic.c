/* Asks for an interpreter: not for this system. */
int main(void)
{
	return 0;
}
