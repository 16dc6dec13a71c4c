import { ENVOY } from './proxy.js';
import { testBehind } from './scenario.js';

testBehind(ENVOY);
