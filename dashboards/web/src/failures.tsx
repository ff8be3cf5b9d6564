export const Failures = () => null
