using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Sagas.Runtime;
using Sagas.Server;
using Shouldly;
using Xunit;

namespace Sagas.Tests.Server;

public sealed partial class SettingsTests
{
    [Fact]
    public void The_readme_has_every_key_once_with_its_default_and_no_other()
    {
        var table = Row().Matches(File.ReadAllText(Path.Combine(LayoutTests.Root, "README.md"))).ToDictionary(row => row.Groups[1].Value, row => row.Groups[2].Value.Trim().Trim('`'));
        table.Keys.ShouldBe(Settings.All.Select(setting => setting.Key), ignoreOrder: true);
        foreach (var setting in Settings.All)
            if (setting.Key is not ("Sagas:Node" or "Sagas:Workers"))    // random, and as many as there are processors
                table[setting.Key].ShouldBe(Written(setting.Default), setting.Key);

        static string Written(object? value) => value switch
        {
            null => "none",
            bool flag => flag ? "true" : "false",
            IEnumerable<string> list => list.Any() ? string.Join(",", list) : "none",
            TimeSpan time => time.ToString(time.Milliseconds != 0 ? @"hh\:mm\:ss\.fff" : time.Days > 0 ? @"d\.hh\:mm\:ss" : @"hh\:mm\:ss", CultureInfo.InvariantCulture),
            _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
        };
    }

    [Theory]
    [InlineData("Sagas:Workers", "abc", "Sagas:Workers is 'abc'. Give a whole number from 1 to 64.")]
    [InlineData("Sagas:Workers", "65", "Sagas:Workers is '65'. Give a whole number from 1 to 64.")]
    [InlineData("Sagas:Journal:SegmentBytes", "12", "Sagas:Journal:SegmentBytes is '12'. Give a whole number from 4096 to 1073741824.")]
    [InlineData("Sagas:Journal:Preallocate", "maybe", "Sagas:Journal:Preallocate is 'maybe'. Give true or false.")]
    [InlineData("Sagas:LazyFlush", "-00:00:01", "Sagas:LazyFlush is '-00:00:01'. Give a time longer than none")]
    [InlineData("Sagas:CallbackBaseUrl", "/here", "Sagas:CallbackBaseUrl is '/here'. Give an absolute http or https URL.")]
    [InlineData("Sagas:Node", "a b", "Sagas:Node is 'a b'. Give text that matches")]
    [InlineData("Sagas:Http:PerHost", "0", "Sagas:Http:PerHost is '0'. Give a whole number from 1 to 65536.")]
    [InlineData("Sagas:AllowRemote", "yes", "Sagas:AllowRemote is 'yes'. Give true or false.")]
    [InlineData("Sagas:StuckAftr", "3", "Sagas:StuckAftr is '3', but there is no such setting. Is Sagas:StuckAfter meant?")]
    [InlineData("Sagas:RabbitMq:Queues", "round", "Sagas:RabbitMq:Queues is 'round'. Give Quorum or Classic.")]
    [InlineData("Sagas:RabbitMq:Prefetch", "0", "Sagas:RabbitMq:Prefetch is '0'. Give a whole number from 1 to 65535.")]
    [InlineData("Sagas:RabbitMq:Heartbeat", "soon", "Sagas:RabbitMq:Heartbeat is 'soon'. Give a time longer than none")]
    [InlineData("Sagas:RabbitMq:Urls", "amqp://ann:Open-Sesame-1@rabbit", "Sagas:RabbitMq:Urls is '***', but there is no such setting. Is Sagas:RabbitMq:Url meant?")]
    [InlineData("Sagas:Color", "red", "The settings are Sagas:AllowRemote, ")]
    public void A_bad_value_is_told_with_key_value_and_what_is_expected(string key, string value, string says) =>
        Settings.FaultsOf(Configured((key, value))).ShouldHaveSingleItem().ShouldContain(says);

    [Fact]
    public void All_faults_are_told_at_once() => Settings.FaultsOf(Configured(("Sagas:Workers", "0"), ("Sagas:BatchSize", "x"))).Count.ShouldBe(2);

    [Fact]
    public void Good_values_are_taken_in_any_case() =>
        Settings.FaultsOf(Configured(("sagas:workers", "2"), ("Sagas:LazyFlush", "00:00:00.050"), ("Sagas:Http:AllowedHosts:0", "10.0.0.0/8"), ("Sagas:Journal:Path", "here"), ("Sagas:Retention", "1.00:00:00"), ("Sagas:RabbitMq:Queues", "classic"), ("Sagas:RabbitMq:Hosts:0", "a"), ("Urls", "x"))).ShouldBeEmpty();

    [Fact]
    public void A_list_may_be_given_as_one_value_with_semicolons()
    {
        var services = new ServiceCollection().AddSingleton(Configured(("Sagas:Http:AllowedHosts", "10.0.0.0/8; bank.example.com"), ("Sagas:Http:RestHosts:0", "*"), ("Sagas:Definitions", "a.json;b")));
        using var provider = services.AddSagas(_ => { }).BuildServiceProvider();
        var options = provider.GetRequiredService<IOptions<SagasOptions>>().Value;
        options.Http.AllowedHosts.ShouldBe(["10.0.0.0/8", "bank.example.com"]);
        options.Http.RestHosts.ShouldBe(["*"]);
        options.Definitions.ShouldBe(["a.json", "b"]);
    }

    [Fact]
    public void A_host_of_your_own_is_told_too()
    {
        using var provider = new ServiceCollection().AddSingleton(Configured(("Sagas:Http:PerHost", "0"))).AddSagas(_ => { }).BuildServiceProvider();
        Should.Throw<OptionsValidationException>(() => provider.GetRequiredService<IOptions<SagasOptions>>().Value).Message.ShouldContain("Sagas:Http:PerHost must lie between 1 and 65536.");
    }

    private static IConfiguration Configured(params (string Key, string Value)[] settings) =>
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value))).Build();

    [GeneratedRegex(@"^\| `(Sagas:[A-Za-z:]+)` \|([^|]*)\|", RegexOptions.Multiline)]
    private static partial Regex Row();
}
