using Sagas.Tests;
using Xunit;

[assembly: AssemblyFixture(typeof(Servers))]
