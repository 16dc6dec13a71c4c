import { HAPROXY } from './proxy.js';
import { testBehind } from './scenario.js';

testBehind(HAPROXY);
